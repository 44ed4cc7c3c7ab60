"""The generated sections of docs/hardening-report.md and docs/performance.md: between markers, so that the rest is kept."""
import os, re


def table(head, rows):
    """Lines of a Markdown table."""
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def machine(known, by, files):
    return (f"{known['cores']} cores ({known['architecture']}), {known['kernel']}. The limit is that of {by}; server and attackers may each have "
            f"{files} descriptors. " + ("The server has one core, everything that loads it the rest."
                                        if known["cores"] > 1 else "Server and load share the core."))


def others(plan):
    """Sections from what other commands have left."""
    found = {}
    if plan.fuzz:
        with open(plan.fuzz) as file:
            found["fuzzing"] = file.read().strip()
    if plan.log:
        with open(plan.log, errors="replace") as file:
            lines = [line.split("hardening: zero-loss", 1)[1].strip() for line in file if "hardening: zero-loss" in line]
        if not lines:
            raise SystemExit(f"{plan.log} has no line `hardening: zero-loss ...`")
        found["zero loss"] = "\n".join(f"- {line}" for line in lines)
    return found


def write(path, sections):
    """Puts each text between its markers. A page without them is an error: nothing is lost silently."""
    with open(path) as file:
        text = file.read()
    for name, section in sections.items():
        pattern = re.compile(rf"(<!-- begin: {re.escape(name)} -->\n).*?(<!-- end: {re.escape(name)} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{path} has no section <!-- begin: {name} --> ... <!-- end: {name} -->")
        text = pattern.sub(lambda found: f"{found.group(1)}\n{section}\n\n{found.group(2)}", text)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)
