//! `/evidence`: what was refused, for people to look at and to throw away. On the admin port alone.
//!
//! SECURITY: what is shown was chosen by attackers. It leaves as JSON whose strings are printable ASCII, which no
//! browser runs (`nosniff`) and no other site may read. Taking out is DELETE with the field
//! `x-requested-with`: a page of another site can send neither without asking first (CORS), and is not answered.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use serde_json::{Value, json};

use super::JSON;
use crate::evidence::{Evidence, Query};
use crate::refusal::{Reason, Refusal};

/// Its path.
pub(super) const PATH: &str = "/evidence";

/// What has to be sent along with DELETE, with whatever value.
const SURE: &str = "x-requested-with";

/// The answer to `request`; `None` where it is for something else.
///
/// # Errors
/// It is not found, not understood, or not allowed.
pub(super) fn answer<B>(
    evidence: &Evidence,
    request: &Request<B>,
) -> Option<Result<Response<Bytes>, Refusal>> {
    let rest = request.uri().path().strip_prefix(PATH)?;
    let id = match rest {
        "" | "/" => None,
        rest => Some(rest.strip_prefix('/')?),
    };
    Some(asked(evidence, request, id))
}

fn asked<B>(evidence: &Evidence, request: &Request<B>, id: Option<&str>) -> Result<Response<Bytes>, Refusal> {
    let method = request.method();
    let value = match (method, id) {
        (&Method::GET | &Method::HEAD, None) => {
            let query = Query::parse(request.uri().query().unwrap_or(""));
            evidence.list(&query.map_err(|detail| Refusal::new(Reason::InvalidPath, detail))?)
        }
        (&Method::GET | &Method::HEAD, Some(id)) => evidence.one(id).ok_or_else(gone)?,
        (&Method::DELETE, _) if !is_meant(request) => {
            let detail =
                "DELETE needs the field x-requested-with, and a page of this site where it comes from one";
            return Err(not_allowed(detail));
        }
        (&Method::DELETE, None) => {
            let removed = evidence.purge();
            tracing::info!(removed, "evidence purged by an operator");
            json!({ "removed": removed })
        }
        (&Method::DELETE, Some(id)) if evidence.remove(id) => json!({ "removed": 1 }),
        (&Method::DELETE, Some(_)) => return Err(gone()),
        _ => return Err(not_allowed("evidence answers GET, HEAD and DELETE")),
    };
    Ok(response(method, &value))
}

/// SECURITY: the evidence of an attack must not be taken away by a page that its attacker has an operator open.
fn is_meant<B>(request: &Request<B>) -> bool {
    let fields = request.headers();
    let foreign = fields.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    fields.contains_key(SURE) && !foreign
}

fn gone() -> Refusal {
    Refusal::new(Reason::NotFound, "there is no such evidence: it was evicted or purged, or never was")
}

fn not_allowed(detail: &'static str) -> Refusal {
    Refusal::new(Reason::MethodNotAllowed, detail)
        .field(header::ALLOW, HeaderValue::from_static("GET, HEAD, DELETE"))
}

fn response(method: &Method, value: &Value) -> Response<Bytes> {
    let body = Bytes::from(value.to_string());
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(if method == Method::HEAD { Bytes::new() } else { body });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}
