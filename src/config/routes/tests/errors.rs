//! What is wrong with a route, word by word.

use super::{Folder, assert_errors, read, read_in};

/// One route with `/x` and these lines.
#[track_caller]
fn assert_route_error(lines: &str, expected: &str) {
    assert_errors(&format!("[[route]]\npath = \"/x\"\n{lines}\n"), &[&format!("route 1 \"/x\" {expected}")]);
}

#[test]
fn every_error_names_the_route_the_key_and_what_is_allowed() {
    let gone = "(file n.toml:3): root = \"$/public/index.html\": is no folder";
    assert_route_error("root = '$/public/index.html'", gone);
    for (lines, expected) in [
        ("respond = {}\nconect = 1", "(file n.toml:4): conect: no such key"),
        (
            "upstream = 'http://a'\nconect_timeout = 1",
            "(file n.toml:4): conect_timeout: no such key; did you mean connect_timeout?",
        ),
        (
            "respond = {}\nmax_connections = 1",
            "(file n.toml:4): max_connections: no such key; limits.max_connections is of the whole server",
        ),
        (
            "respond = {}\nlimits = { max_body_size = 1 }",
            "(file n.toml:4): limits: no such key; what a route has of [limits] stands by its own name, as in connect_timeout",
        ),
        (
            "respond = {}\nrequest_timeout = 0",
            r#"(file n.toml:4): request_timeout = "0": out of range; allowed: 1ms to 24h"#,
        ),
        (
            "upstream = 'http://a'\nretries = 11",
            r#"(file n.toml:4): retries = "11": out of range; allowed: 0 to 10"#,
        ),
        (
            "respond = {}\nrequest_timeout = { a = 1 }",
            "(file n.toml:4): request_timeout = (a TOML table): not a value that a key takes; allowed: 1ms to 24h",
        ),
        (
            "redirect = { to = '/y' }\nconnect_timeout = 1",
            r#"(file n.toml:4): connect_timeout = "1": means nothing with redirect; it goes with upstream"#,
        ),
        (
            "redirect = { to = '/y' }\ncompression = true",
            r#"(file n.toml:4): compression = "true": means nothing with redirect; it goes with upstream or root or respond"#,
        ),
        (
            "upstream = 'http://a'\nfallback = '/index.html'",
            r#"(file n.toml:4): fallback = "/index.html": means nothing with upstream; it goes with root"#,
        ),
        (
            "upstream = 'ftp://a'",
            r#"(file n.toml:3): upstream = "ftp://a": has a scheme that is not known here; did you forget http://?; allowed: http://host:port, h2c, https or h2, or a list of them"#,
        ),
        (
            "upstream = ['http://a', 'b:80']",
            r#"(file n.toml:3): upstream = ["http://a", "b:80"]: "b:80": has no scheme; did you forget http://?; allowed: http://host:port, h2c, https or h2, or a list of them"#,
        ),
        (
            "upstream = 'http://me:hunter2@a'",
            r#"(file n.toml:3): upstream = "http://[redacted]@a": has a user or password, which no upstream is sent; allowed: http://host:port, h2c, https or h2, or a list of them"#,
        ),
        ("upstream = []", "(file n.toml:3): upstream = []: names no upstream"),
        (
            "upstream = 'http://127.0.0.1:3000'",
            r#"(file n.toml:3): upstream = "http://127.0.0.1:3000": http://127.0.0.1:3000 is this very server (server.port = 3000)"#,
        ),
        (
            "upstream = 'http://a'\neject_time = '2m'",
            r#"(file n.toml:4): eject_time = "2m": the first time is longer than the longest (eject_time, max_eject_time)"#,
        ),
        (
            "root = '$/private'",
            r#"(file n.toml:3): root = "$/private": cannot be read: No such file or directory (os error 2)"#,
        ),
        (
            "root = '$/public'\nfallback = '/app.html'",
            r#"(file n.toml:4): fallback = "/app.html" of "$/public": cannot be read: No such file or directory (os error 2)"#,
        ),
        (
            "root = '$/public'\nfallback = 'index.html'",
            r#"(file n.toml:4): fallback = "index.html": does not begin with /; allowed: off, or a path from /, without .. and //"#,
        ),
        ("redirect = { status = 301 }", "(file n.toml:3): redirect = (a TOML table): has no to"),
        (
            "redirect = { to = '/y', status = 300 }",
            r#"(file n.toml:3): redirect.status = "300": not one of the numbers known here; allowed: 301, 302, 303, 307, 308"#,
        ),
        (
            "redirect = { to = '//evil' }",
            r#"(file n.toml:3): redirect.to = "//evil": neither a URL nor a path; allowed: an http:// or https:// URL, or a path from /"#,
        ),
        (
            "redirect = '/y'",
            r#"(file n.toml:3): redirect = "/y": not taken here; allowed: a table of to, status, keep_path"#,
        ),
        (
            "redirect = { to = '/y?a', keep_path = true }",
            r#"(file n.toml:3): redirect.to = "/y?a": nothing can follow its query or fragment, and keep_path appends"#,
        ),
        (
            "redirect = { to = '/x/y' }",
            r#"(file n.toml:1): redirect.to = "/x/y": leads back to this very route"#,
        ),
        (
            "respond = { staus = 1 }",
            "(file n.toml:3): respond.staus: no such key; did you mean respond.status?",
        ),
        (
            "respond = { status = 204, body = 'x' }",
            "(file n.toml:3): respond = (a TOML table): an answer of 204 has no body",
        ),
        (
            "host = 'a:80'\nrespond = {}",
            r#"(file n.toml:3): host = "a:80": is no host name, address or *.name, without port; allowed: a host without port, *.example.com for all below it"#,
        ),
        (
            "methods = ['GET', 'CONNECT']\nrespond = {}",
            r#"(file n.toml:3): methods = ["GET", "CONNECT"]: CONNECT is never allowed; allowed: a list of method names, not CONNECT"#,
        ),
        (
            "respond = {}\nrate_limit = { window = '1s' }",
            "(file n.toml:4): rate_limit = (a TOML table): has no max_requests, and [rate_limit] has none either",
        ),
        (
            "respond = {}\nrate_limit = 5",
            r#"(file n.toml:4): rate_limit = "5": not taken here; allowed: off, or a table of max_requests, window, burst, block, max_keys, key"#,
        ),
        (
            "respond = {}\ncompression = { max_concurrent = 1 }",
            "(file n.toml:4): compression.max_concurrent: no such key; compression.max_concurrent is of the whole server",
        ),
        (
            "respond = {}\nsecurity_headers = 'perhaps'",
            r#"(file n.toml:4): security_headers = "perhaps": not taken here; allowed: true, false, or a table of enabled, nosniff, frame_options, referrer_policy, content_security_policy, permissions_policy, hsts"#,
        ),
        ("", "(file n.toml:1): leads nowhere; allowed: exactly one of upstream, root, redirect, respond"),
        (
            "upstream = 'http://a'\nrespond = {}",
            "(file n.toml:1): has upstream and respond; allowed: exactly one of upstream, root, redirect, respond",
        ),
    ] {
        assert_route_error(lines, expected);
    }
}

#[test]
fn a_path_is_a_plain_prefix() {
    let taken = |path: &str| {
        let loaded = read(&format!("[[route]]\npath = \"{path}\"\nrespond = {{}}\n"));
        loaded.map(|loaded| loaded.routes[0].path.clone())
    };
    for (path, expected) in [("/", "/"), ("/api", "/api"), ("/api/", "/api"), ("/a%20b/c.d", "/a%20b/c.d")] {
        assert_eq!(taken(path).unwrap(), expected);
    }
    for (path, problem) in [
        ("api", "does not begin with /"),
        ("", "does not begin with /"),
        ("/a?b=c", "has a query"),
        ("/a#b", "has a fragment"),
        ("//a", "has an empty segment (//)"),
        ("/a//", "has an empty segment (//)"),
        ("/a/../b", "has a segment of dots"),
        ("/a/%2E%2e", "has a segment of dots"),
        ("/a b", "has a letter that has to be percent-encoded"),
        ("/ä", "has a letter that has to be percent-encoded"),
        ("/users/{id}", "has a letter that no path has"),
        ("/a\\\\b", "has a letter that no path has"),
    ] {
        let allowed = "; allowed: a path from /, without .. and //";
        let shown = path.replace("\\\\", "\\");
        let expected = format!("route 1 {shown:?} (file n.toml:2): path = {shown:?}: {problem}{allowed}");
        assert_eq!(taken(path).unwrap_err(), [expected]);
    }
    assert_eq!(
        taken("/api/*").unwrap_err(),
        [r#"route 1 "/api/*" (file n.toml:2): path = "/api/*": has a *; a path takes all below it as it is"#]
    );
    assert_errors(
        "[[route]]\nrespond = {}\n",
        &["route 1 (file n.toml:1): has no path; / is for every request"],
    );
}

#[test]
fn two_routes_of_one_place_are_an_error_even_where_one_is_faulty() {
    let text = "
[[route]]
path = '/a/'
respond = { status = 99 }
[[route]]
path = '/a'
host = 'a.example'
respond = {}
[[route]]
path = '/a'
respond = {}
";
    assert_errors(
        text,
        &[
            r#"route 1 "/a/" (file n.toml:4): respond.status = "99": out of range; allowed: 200 to 599"#,
            r#"route 3 "/a" (file n.toml:9): the same host and path as route 1 "/a/" (file n.toml:2)"#,
        ],
    );
}

#[test]
fn a_redirect_may_lead_to_a_longer_route_of_its_own() {
    let text = "
[[route]]
path = '/'
redirect = { to = '/app/' }
[[route]]
path = '/app'
upstream = 'http://a'
";
    assert!(read(text).is_ok());
}

#[test]
fn a_fallback_cannot_lead_out_of_its_folder() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("secret"), "x").unwrap();
    std::os::unix::fs::symlink(folder.0.join("secret"), folder.0.join("public/link")).unwrap();
    for (fallback, problem) in [
        ("/link", "is a link out of the folder"),
        ("/", "is no file"),
        ("/%41", "is percent-encoded; name it as it is"),
    ] {
        let text = format!("[[route]]\npath = '/'\nroot = '$/public'\nfallback = '{fallback}'\n");
        let expected =
            format!("route 1 \"/\" (file n.toml:4): fallback = {fallback:?} of \"$/public\": {problem}");
        assert_eq!(read_in(&folder, &text, &[]).unwrap_err(), [expected]);
    }
    // What holds for all has to hold in every folder.
    let text = "[files]\nfallback = '/app.html'\n[[route]]\npath = '/'\nroot = '$/public'\n";
    assert_eq!(
        read_in(&folder, text, &[]).unwrap_err(),
        [
            r#"route 1 "/" (file n.toml:5): fallback = "/app.html" of "$/public": cannot be read: No such file or directory (os error 2)"#
        ]
    );
}

#[test]
fn redirects_lead_nobody_in_a_circle() {
    let redirect = |path: &str, to: &str| format!("[[route]]\npath = '{path}'\nredirect.to = '{to}'\n");
    let text = [redirect("/a", "/b/x"), redirect("/b", "/%63"), redirect("/c", "/a?q"), redirect("/d", "/a")];
    let circle = |number: usize, path: &str, to: &str| {
        let line = number * 3 - 2;
        format!(
            r#"route {number} "{path}" (file n.toml:{line}): redirect.to = "{to}": leads back to this very route, by way of others"#
        )
    };
    // /d leads into it, and is no part of it.
    let expected = [circle(1, "/a", "/b/x"), circle(2, "/b", "/%63"), circle(3, "/c", "/a?q")];
    assert_errors(&text.concat(), &expected.each_ref().map(String::as_str));
    let way_out = redirect("/b/x", "https://example.com");
    assert!(read(&[text.concat(), way_out].concat()).is_ok());
}

#[test]
fn a_path_is_one_place_however_it_is_spelled() {
    let respond = |path: &str| format!("[[route]]\npath = '{path}'\nrespond = {{}}\n");
    let loaded = read(&[respond("/%61pi"), respond("/caf%c3%a9/")].concat()).unwrap();
    let paths: Vec<&str> = loaded.config.routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/caf%C3%A9", "/api"]);
    assert_errors(
        &[respond("/caf%c3%a9"), respond("/caf%C3%A9/")].concat(),
        &[
            r#"route 2 "/caf%C3%A9/" (file n.toml:4): the same host and path as route 1 "/caf%c3%a9" (file n.toml:1)"#,
        ],
    );
}
