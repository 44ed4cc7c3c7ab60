use super::*;

#[test]
fn a_head_is_shown_without_secrets() {
    let sent = b"GET /a?token=s3cret&x=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\nCookie: a=s3cret\r\n\
        X-Api-Key: s3cret\r\nReferer: https://u:s3cret@b/c?password=s3cret\r\nLink: <http://a/?sig=s3cret>; rel=x\r\n\
        X-Note: Bearer s3cret\r\nX-Query: token=s3cret\r\nX-Bad: \x1b[31m\xff\r\n\r\n";
    let lines = head(sent);
    assert_eq!(
        lines,
        [
            "GET /a?token=[redacted]&x=1 HTTP/1.1",
            "Host: a",
            "Authorization: [redacted]",
            "Cookie: [redacted]",
            "X-Api-Key: [redacted]",
            "Referer: https://[redacted]@b/c?password=[redacted]",
            "Link: <http://a/?sig=[redacted]; rel=x",
            "X-Note: Bearer [redacted]",
            "X-Query: token=[redacted]",
            "X-Bad: \\x1b[31m\\xff",
        ]
    );
}

#[test]
fn a_secret_within_a_parameter_is_found_however_it_is_encoded() {
    for target in [
        "/cb?next=%2Fa%3Ftoken%3Ds3cret",
        "/cb?next=%252Fa%253Ftoken%253Ds3cret&b=1",
        "/cb?a=%25252Fa%25253Ftoken%25253Ds3cret",
        "/%3Ftoken%3Ds3cret",
    ] {
        let shown = hide::target(target);
        assert!(!shown.contains("s3cret") && shown.contains(REDACTED), "{shown}");
    }
    assert_eq!(hide::target("/a%20b?c=%2F&d=%41"), "/a%20b?c=%2F&d=%41");
}

#[test]
fn what_could_not_be_read_is_shown_as_far_as_it_is_understood() {
    let sent = b"GET /x HTTP/1.1\nHost: a\r\nAuthorization : Bearer s3cret\r\n  s3cret folded\r\nX: y\0Cookie s3cret\rs3cret\r\nX-B: has key s3cret\r\n";
    let lines = unread(sent);
    assert!(!lines.concat().contains("s3cret"), "{lines:?}");
    assert_eq!(lines[0], "GET /x HTTP/1.1");
    assert!(lines.contains(&"X: y".to_owned()), "{lines:?}");
    for sent in
        ["AUTH s3cret\r\n", "PASS s3cret", "s3cret", "Authorization: s3cret", "\x16\x03\x01s3cret", ""]
    {
        assert_eq!(unread(sent.as_bytes()), [""; 0], "{sent}");
    }
    let lines = unread(b"GET /a?token=s3cret s3cret HTTP/1.1\r\n");
    assert!(!lines.concat().contains("s3cret"), "{lines:?}");
    assert_eq!(
        (guess(b"\x16\x03\x01"), guess(b"GET / HTTP/1.1\r\n"), guess(b"x")),
        ("tls", "http1", "unknown")
    );
}

#[track_caller]
fn assert_quick(work: impl Fn()) {
    let timed = |_| {
        let began = std::time::Instant::now();
        work();
        began.elapsed()
    };
    let least = (0..5).map(timed).min().unwrap();
    assert!(least < std::time::Duration::from_millis(300), "{least:?}");
}

/// A word of a secret is looked for once in a line, not at every letter of it.
#[test]
fn a_long_line_is_read_in_no_time() {
    let mut sent = b"GET /x HTTP/1.1\r\nX\x01a: ".to_vec();
    sent.resize(8 << 10, 0xff);
    // Reading it anew at every letter takes seconds, every time.
    assert_quick(|| {
        let lines = unread(&sent);
        assert!(lines.last().unwrap().len() > 30_000, "{}", lines.len());
    });
    let names = format!("GET / HTTP/1.1\r\nX: {}\r\n", "key,".repeat(2000));
    assert_quick(|| assert!(head(names.as_bytes())[1].ends_with(REDACTED)));
    for (line, shown) in
        [("a key and more", "a key [redacted]"), ("a key", "a key"), ("token, key", "token [redacted]")]
    {
        assert_eq!(cut_at_secret(line), shown);
    }
}

fn body_of(kind: &str, bytes: &[u8]) -> Option<String> {
    body(bytes, &head(format!("POST / HTTP/1.1\r\ncontent-type: {kind}\r\n\r\n").as_bytes()))
}

#[test]
fn a_form_is_shown_without_secrets() {
    let form = body_of(
        "application/x-www-form-urlencoded; charset=utf-8",
        b"user=a&password=s3cret&b=1&tok%65n=s3cret",
    );
    assert_eq!(form.as_deref(), Some("user=a&password=[redacted]&b=1&tok%65n=[redacted]"));
    let first = body_of("application/x-www-form-urlencoded", b"password=s3cret");
    assert_eq!(first.as_deref(), Some("password=[redacted]"));
}

#[test]
fn json_is_shown_without_secrets_whole_or_cut_off() {
    for (sent, shown) in [
        (r#"{"a":1,"password":"s3cret","b":"c"}"#, Some(r#"{"a":1,"password":"[redacted]","b":"c"}"#)),
        (r#"{"token" : 123456, "b":2}"#, Some(r#"{"token" : [redacted], "b":2}"#)),
        (r#"{"secret":{"x":"s3cret"},"b":1}"#, Some(r#"{"secret":[redacted]"#)),
        (r#"{"keys":["s3cret","s3cret"]}"#, Some(r#"{"keys":[redacted]"#)),
        (r#"{"password":"s3cre"#, Some(r#"{"password":"[redacted]""#)),
        (r#"{"p\u0061ssword":"s3cret"}"#, None),
        (r#"{"a":"\"password","b":"c"}"#, None),
        (r#"{"url":"http://a/?token=s3cret"}"#, Some(r#"{"url":"http://a/?token=[redacted]"}"#)),
        (r#"{"password""#, None),
        ("{\"password\":\"a\\\"s3cret\", \"x\": 1}", Some("{\"password\":\"[redacted]\", \"x\": 1}")),
    ] {
        let found = body_of("application/json", sent.as_bytes()).unwrap_or_default();
        assert!(!found.contains("s3cre"), "{sent}: {found}");
        if let Some(shown) = shown {
            assert_eq!(found, shown, "{sent}");
        }
    }
    let innocent = r#"{"a":[1,-2.5e3,true,null],"b":{"c":"d e","f":""},"g":fal"#;
    assert_eq!(body_of("application/json", innocent.as_bytes()).as_deref(), Some(innocent));
}

#[test]
fn json_that_does_not_tell_where_its_secrets_are_is_not_shown() {
    for sent in [
        "user=a&password=s3cret",
        "{'password': 's3cret'}",
        "{password: s3cret}",
        r#"{"password": s3cret}"#,
        r#"{"password"::"s3cret"}"#,
        r#"{"password":,"s3cret"}"#,
        r#"{"password" "s3cret"}"#,
        r#"{"password": a"s3cret"}"#,
        r#"{"a":"b"} /* s3cret */"#,
        r#"[{"name":"password","value":"s3cret"}]"#,
        r#"[{"value":"s3cret","name":"password"}]"#,
        r#"["password", "s3cret"]"#,
        r#""s3cret""#,
    ] {
        assert_eq!(body_of("application/json", sent.as_bytes()), None, "{sent}");
    }
    for sent in [
        r#"{"body":"{\"password\":\"s3cret\"}"}"#,
        r#"{"body":"{\"p\u0061ssword\":\"s3cret\"}"}"#,
        r#"{"url":"https://h/cb#access_token=s3cret"}"#,
        r#"{"url":"https://u:s3cret@h/"}"#,
        r#"{"url":"https%3A%2F%2Fu%3As3cret%40h"}"#,
        r#"{"note":"Bearer s3cret"}"#,
        r#"{"note":"password is s3cret"}"#,
    ] {
        let shown = body_of("application/json", sent.as_bytes()).unwrap_or_default();
        assert!(!shown.contains("s3cret"), "{sent}: {shown}");
    }
}

#[test]
fn fields_and_targets_hide_what_only_seems_to_have_ended() {
    for line in [
        "Referer: https://h/cb#access_token=s3cret",
        "Referer: https://user:a,s3cret@host/",
        "Referer: https://user:a/s3cret@host/",
        "Referer: https://user:a s3cret@host/",
        "Referer: //u:s3cret@h/",
        "Referer: https://a/?u=https://u:s3cret@h/",
        "Referer: https://a/?token=abc,s3cret",
        "Referer: https://a/?token=abc;s3cret",
        "Referer: https://a/?token=abc?s3cret",
        "X-Url: url=https%3A%2F%2Fu%3As3cret%40h",
        "X-Url: u:s3cret@h",
        "X-Ctx: {\"password\":\"s3cret\"}",
        "X-Ctx: {\"p\\u0061ssword\":\"s3cret\"}",
        "X-Ctx: %7B%22password%22%3A%22s3cret%22%7D",
        "X-Fwd: Bearer\ts3cret",
        "X-Fwd: Token s3cret",
        "X-Fwd: Negotiate s3cret",
        "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.s3cret",
        "Host: admin:s3cret@example.com",
        "Host: s3cret@example.com",
        ":authority: admin:s3cret@example.com:443",
        "X: %70assword=s3cret",
    ] {
        let lines = [
            head(format!("GET / HTTP/1.1\r\n{line}\r\n").as_bytes()),
            unread(format!("GET / HTTP/1.1\r\n{line}\r\n").as_bytes()),
        ];
        assert!(!lines.concat().concat().contains("s3cret"), "{lines:?}");
    }
    for target in [
        "/cb#access_token=s3cret",
        "/?token=abc;s3cret",
        "/?token=abc?s3cret",
        "/?next=https://a/?u=https://u:s3cret@h/",
        "/?url=https%3A%2F%2Fu%3As3cret%40h",
        "/?f=%7B%22password%22%3A%22s3cret%22%7D",
        "//u:s3cret@h/",
        "admin:s3cret@h:443",
        "s3cret@h:443",
        "http://u:s3cret@h/",
    ] {
        let shown = head(format!("CONNECT {target} HTTP/1.1\r\n").as_bytes());
        assert!(!shown.concat().contains("s3cret"), "{target}: {shown:?}");
    }
}

#[test]
fn what_tells_no_secret_is_shown_whole() {
    for line in [
        "Host: auth.example.com:8443",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0",
        "Accept: text/html,application/signed-exchange;v=b3;q=0.7,*/*;q=0.8",
        "Referer: https://example.com/authors/a?page=2&x=%20y#top",
        "From: a@example.com",
        "Referer: https://example.com/@user/x",
        "Access-Control-Request-Headers: authorization,content-type",
    ] {
        assert_eq!(head(format!("GET / HTTP/1.1\r\n{line}\r\n").as_bytes())[1], line);
    }
    for target in ["/@vite/client?t=1", "/tokens/list?x=1", "/a?b=1#top", "example.com:443", "*"] {
        assert_eq!(hide::target(target), target);
    }
}

#[test]
fn a_form_of_another_grammar_is_not_shown() {
    for sent in ["{\"password\":\"s3cret\"}", "s3cret", "a=1&s3cret&b=2", "a b=s3cret", "=s3cret"] {
        assert_eq!(body_of(FORM, sent.as_bytes()), None, "{sent}");
    }
    assert_eq!(body_of(FORM, b"a=1&b=2&s3cr").as_deref(), Some("a=1&b=2"));
    for sent in
        ["a={\"password\":\"s3cret\"}", "a=https://u:s3cret@h/", "password=a&s3cret", "token=a;s3cret"]
    {
        let shown = body_of(FORM, sent.as_bytes()).unwrap_or_default();
        assert!(!shown.contains("s3cret"), "{sent}: {shown}");
    }
}

#[test]
fn what_names_nothing_is_not_shown() {
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/octet-stream", "text/xml"] {
        assert_eq!(body_of(kind, b"s3cret"), None, "{kind}");
    }
    assert_eq!(body(b"s3cret", &head(b"POST / HTTP/1.1\r\n\r\n")), None);
    let packed = b"POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n";
    assert_eq!(body(b"s3cret", &head(packed)), None);
}

/// Whatever comes: no panic, and nothing that is no printable ASCII.
#[test]
fn nothing_that_is_shown_is_more_than_text() {
    let mut state = 7u64;
    let mut byte = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let of = b"GET /?a=%3Dtoken&:\r\n\"{}[],\\ HTTP/1.1\x1b\xff\0;";
        of[(state >> 33) as usize % of.len()]
    };
    for round in 0..3000 {
        let bytes: Vec<u8> = (0..round % 200).map(|_| byte()).collect();
        let mut all = head(&bytes);
        all.extend(unread(&bytes));
        for kind in ["application/json", FORM] {
            all.extend(body_of(kind, &bytes));
        }
        assert!(all.iter().all(|line| line.bytes().all(|byte| (b' '..=b'~').contains(&byte))), "{all:?}");
    }
}
