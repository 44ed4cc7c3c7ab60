"""checkov finds nothing in what the chart makes but what checkov.yaml, or a line here, has a reason for."""

import yaml
from test_helm import FILES, values
from test_kubernetes_checkov import LISTED, checkov

from support.helm import render

# A pod that asks once and ends has nobody who would probe it.
TEST_POD = {"CKV_K8S_8": "Liveness Probe", "CKV_K8S_9": "Readiness Probe"}
# "everything" has containers of the user's, bare for brevity; "nothing" leaves the policy out on purpose.
JUDGED = ["default", *sorted(set(FILES) - {"everything", "nothing"})]


def test_nothing_fails_but_what_has_a_reason(tmp_path):
    for name in JUDGED:
        release = render(**values(name))
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(release.objects + release.hooks))
    failed, summary = checkov(tmp_path)
    assert summary["parsing_errors"] == 0 and summary["passed"] > 100 * len(JUDGED)
    listed = {one["check"] for one in yaml.safe_load(LISTED.read_text())}
    left = {one for one in failed if one[0] not in listed}
    pods = {one for one in left if one[3].endswith("-healthcheck") and one[0] in TEST_POD}
    assert len(pods) == len(JUDGED) * len(TEST_POD), "a reason that nothing needs any more"
    assert sorted(left - pods) == []
