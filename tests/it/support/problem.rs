//! What every refusal looks like.

use serde_json::Value;

use super::http1::Response;

/// A word that the attacks carry in their targets, fields and bodies, and no refusal may repeat.
pub(crate) const MARKER: &str = "zqx";

/// Fails unless `response` is a whole problem answer for `code`.
#[track_caller]
pub(crate) fn assert_problem(response: &Response, status: u16, code: &str) {
    if let Err(fault) = check_problem(response, status, code) {
        panic!("{fault}\n{response:?}");
    }
}

/// What is wrong with a problem answer, in words.
pub(crate) fn check_problem(response: &Response, status: u16, code: &str) -> Result<(), String> {
    let expect = |what: &str, got: &dyn std::fmt::Display, wanted: &str| {
        let got = got.to_string();
        if got == wanted { Ok(()) } else { Err(format!("{what} is {got:?}, not {wanted:?}")) }
    };
    expect("the status", &response.status, &status.to_string())?;
    let id = response.header("x-request-id").unwrap_or_default();
    expect("content-type", &response.header("content-type").unwrap_or_default(), "application/problem+json")?;
    check_document(&response.body, status, code)?;
    let document: Value = serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
    expect("request_id beside x-request-id", &document["request_id"].as_str().unwrap_or_default(), id)?;
    let whole = format!("{:?}{}", response.headers, response.text()).to_lowercase();
    if whole.contains(MARKER) {
        return Err("the answer repeats a part of the request".to_owned());
    }
    Ok(())
}

/// What is wrong with a problem document alone, as it comes over HTTP/2.
pub(crate) fn check_document(body: &[u8], status: u16, code: &str) -> Result<(), String> {
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| format!("the body is no JSON ({error}): {:?}", String::from_utf8_lossy(body)))?;
    let expect = |field: &str, wanted: Value| {
        let got = &document[field];
        if *got == wanted { Ok(()) } else { Err(format!("{field} is {got}, not {wanted}")) }
    };
    expect("code", code.into())?;
    expect("status", status.into())?;
    expect("type", "about:blank".into())?;
    for field in ["title", "detail", "request_id"] {
        if document[field].as_str().is_none_or(str::is_empty) {
            return Err(format!("the problem has no {field}: {document}"));
        }
    }
    Ok(())
}

/// Fails unless `body` is the problem document of `code`.
#[track_caller]
pub(crate) fn assert_document(body: &[u8], status: u16, code: &str) {
    if let Err(fault) = check_document(body, status, code) {
        panic!("{fault}");
    }
}
