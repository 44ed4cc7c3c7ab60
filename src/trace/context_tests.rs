use super::*;

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn parse(text: &str) -> Option<Parent> {
    Parent::parse(text.as_bytes())
}

#[test]
fn a_traceparent_is_read_and_written_as_it_is() {
    let parent = parse(GOOD).unwrap();
    assert_eq!(parent.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(parent.span_id.to_string(), "b7ad6b7169203331");
    assert!(parent.is_sampled());
    assert_eq!(parent.text(), *GOOD.as_bytes());
    for (flags, sampled, told) in
        [("00", false, "00"), ("03", true, "03"), ("02", false, "02"), ("ff", true, "03")]
    {
        let text = format!("{}{flags}", GOOD.strip_suffix("01").unwrap());
        let parent = parse(&text).unwrap();
        assert_eq!(parent.is_sampled(), sampled, "{text}");
        assert_eq!(&parent.text()[53..], told.as_bytes(), "{text}");
    }
}

#[test]
fn a_later_version_may_say_more_and_this_one_may_not() {
    for (text, good) in [
        (GOOD.to_owned(), true),
        (format!("{GOOD}-"), false),
        (format!("{GOOD}-more"), false),
        (GOOD.replacen("00", "01", 1), true),
        (GOOD.replacen("00", "cc", 1) + "-more", true),
        (GOOD.replacen("00", "cc", 1) + "more", false),
        (GOOD.replacen("00", "cc", 1) + ".", false),
        (GOOD.replacen("00", "ff", 1), false),
        (GOOD.replacen("00", "ff", 1) + "-more", false),
    ] {
        assert_eq!(parse(&text).is_some(), good, "{text}");
    }
}

#[test]
fn what_is_malformed_in_any_way_is_none() {
    for text in [
        "",
        "-",
        "00",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319cc-b7ad6b716920333-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
        "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01,00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c8031é-b7ad6b7169203331-01",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}

/// Each byte of a good one, in turn, as every other byte: it is read as something else of the same form, or
/// not at all; and what is read is written as it was, but for the flags that nobody knows.
#[test]
fn no_byte_is_overlooked() {
    for at in 0..GOOD.len() {
        for byte in 0..=u8::MAX {
            let mut text = GOOD.as_bytes().to_vec();
            text[at] = byte;
            let hex = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let dash = matches!(at, 2 | 35 | 52);
            let version = at < 2;
            match Parent::parse(&text) {
                None => assert!(!hex || dash || (version && text.starts_with(b"ff")), "{text:?}"),
                Some(parent) => {
                    assert!(if dash { byte == b'-' } else { hex }, "{text:?}");
                    assert_eq!(parent.text()[2..53], text[2..53]);
                }
            }
        }
    }
}

#[test]
fn what_is_made_here_can_be_read() {
    for _ in 0..1000 {
        let made = Parent { trace_id: TraceId::random(), span_id: SpanId::random(), flags: SAMPLED };
        assert_eq!(Parent::parse(&made.text()), Some(made));
        assert_eq!(made.trace_id.hex(), *made.trace_id.to_string().as_bytes());
        assert_eq!(made.span_id.hex(), *made.span_id.to_string().as_bytes());
    }
}

#[test]
fn a_tracestate_is_passed_on_where_it_is_one() {
    let many = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    let long = |length: usize| format!("k={}", "v".repeat(length));
    let spread = |length: usize| format!("a={},b={},", "v".repeat(256), "v".repeat(length - 256 - 6));
    for (fields, good) in [
        (vec!["congo=t61rcWkgMzE"], true),
        (vec!["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], true),
        (vec!["rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE"], true),
        (vec!["a=1 , b=2,, ,c=3\t"], true),
        (vec!["fw529a3039@dt=FfAZF", "0a@b=c d"], true),
        (vec!["a=1", "a=2"], false),
        (vec!["a=1,b=2,a=3"], false),
        (vec![""], false),
        (vec![",,"], false),
        (vec![], false),
        (vec!["a"], false),
        (vec!["a="], false),
        (vec!["=a"], false),
        (vec!["A=1"], false),
        (vec!["a b=1"], false),
        (vec!["_a=1"], false),
        (vec!["a=b=c"], false),
        (vec!["a=\u{e9}"], false),
        (vec!["a=\u{7f}"], false),
        (vec![&many(32)], true),
        (vec![&many(33)], false),
        (vec![&long(256)], true),
        (vec![&long(257)], false),
        (vec![&spread(512)], true),
        (vec![&spread(513)], false),
        (vec![&long(256), &spread(300)], false),
        (vec![&format!("{}=1", "k".repeat(256))], true),
        (vec![&format!("{}=1", "k".repeat(257))], false),
    ] {
        assert_eq!(is_state(fields.iter().map(|field| field.as_bytes())), good, "{fields:?}");
    }
}
