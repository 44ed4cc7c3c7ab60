//! A bucket of S3, or of what speaks like it, by object_store over connections of our own.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::path::Path;
use object_store::{ClientOptions as StoreOptions, ObjectStoreExt, RetryConfig};

use super::PlaceError;
use crate::dial::Dialer;
use crate::outcall::{Bounds, CallError, Caller, Origin, Speak};
use crate::tls::client::ClientOptions;

/// Where, and by whose right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What every key begins with.
    pub prefix: String,
    /// Its region.
    pub region: String,
    /// Where its server is; `None`: AWS.
    pub endpoint: Option<Endpoint>,
    /// CAs to believe in place of the public ones.
    pub ca: Option<PathBuf>,
    /// By whose right.
    pub keys: Keys,
}

/// A server that speaks as S3 does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is spoken to within TLS.
    pub tls: bool,
    /// A name or an address; IPv6 in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port } = self;
        match (*tls, *port) {
            (true, 443) => write!(f, "https://{host}"),
            (false, 80) => write!(f, "http://{host}"),
            (tls, port) => write!(f, "http{}://{host}:{port}", if tls { "s" } else { "" }),
        }
    }
}

/// What requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Whose.
    pub id: String,
    /// The key.
    pub secret: String,
    /// Where they are for a while only.
    pub session: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Bucket {
    /// Where its server is.
    pub fn server(&self) -> Endpoint {
        let aws = || Endpoint { tls: true, host: format!("s3.{}.amazonaws.com", self.region), port: 443 };
        self.endpoint.clone().unwrap_or_else(aws)
    }
}

/// How long a call may take, and how much of an answer is read: one that says what is wrong.
const BOUNDS: Bounds = Bounds { deadline: Duration::from_secs(15), max_body: 64 * 1024 };

pub(super) struct Writer {
    store: AmazonS3,
    prefix: String,
}

impl fmt::Debug for Writer {
    // SECURITY: the client has the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(bucket: &Bucket, dialer: Dialer) -> Result<Self, PlaceError> {
        let server = bucket.server();
        let tls = match server.tls {
            true => {
                let options = ClientOptions { ca: bucket.ca.clone(), ..ClientOptions::default() };
                Some(options.config(Speak::Http1.protocols()).map_err(PlaceError::Tls)?)
            }
            false => None,
        };
        let url = server.to_string();
        let origin = Origin { host: server.host, port: server.port, tls, speak: Speak::Http1 };
        let keys = bucket.keys.clone();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&bucket.name)
            .with_region(&bucket.region)
            .with_endpoint(url)
            .with_allow_http(!server.tls)
            .with_virtual_hosted_style_request(false)
            .with_access_key_id(keys.id)
            .with_secret_access_key(keys.secret)
            // Who writes tries again by itself, with a pause that grows.
            .with_retry(RetryConfig {
                max_retries: 0,
                retry_timeout: BOUNDS.deadline,
                ..RetryConfig::default()
            })
            .with_client_options(StoreOptions::new().with_allow_http(!server.tls))
            .with_http_connector(Calls(Arc::new(Caller::new(dialer, origin))));
        if let Some(session) = keys.session {
            builder = builder.with_token(session);
        }
        let store = builder.build().map_err(|error| PlaceError::Bucket(error.to_string()))?;
        Ok(Self { store, prefix: bucket.prefix.clone() })
    }

    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), String> {
        let key = match self.prefix.as_str() {
            "" => Path::from(name),
            prefix => Path::from(format!("{prefix}/{name}")),
        };
        self.store.put(&key, bytes.into()).await.map(|_| ()).map_err(|error| said(&error))
    }
}

/// What went wrong. SECURITY: the text of an object store's answer may repeat what was sent, and is left out.
fn said(error: &object_store::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if let Some(call) = one.downcast_ref::<CallError>() {
            return call.to_string();
        }
        cause = one.source();
    }
    match error {
        object_store::Error::NotFound { .. } => "the bucket was not found (404)".to_owned(),
        object_store::Error::PermissionDenied { .. } => "the keys may not write there (403)".to_owned(),
        object_store::Error::Unauthenticated { .. } => "the keys are not known there (401)".to_owned(),
        _ => "the object store answered with an error".to_owned(),
    }
}

/// HTTP for object_store.
#[derive(Debug, Clone)]
struct Calls(Arc<Caller>);

impl HttpConnector for Calls {
    fn connect(&self, _: &StoreOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Calls {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let failed = |error: CallError| {
                let kind = match &error {
                    CallError::Connect(_) => HttpErrorKind::Connect,
                    CallError::Deadline(_) => HttpErrorKind::Timeout,
                    _ => HttpErrorKind::Interrupted,
                };
                HttpError::new(kind, error)
            };
            let answer = self.0.call(http::Request::from_parts(head, body), BOUNDS).await.map_err(failed)?;
            let mut response = HttpResponse::new(answer.body.into());
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

/// A bucket's name, as S3 takes them.
///
/// # Errors
/// What is wrong with it, in words that follow it.
pub fn name(text: &str) -> Result<String, String> {
    let is_end =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    let sound = (3..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(byte))
        && is_end(bytes.first())
        && is_end(bytes.last())
        && !text.contains("..");
    if sound {
        return Ok(text.to_owned());
    }
    Err("is no bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens".to_owned())
}

/// What keys begin with, without slashes around it.
///
/// # Errors
/// What is wrong with it, in words that follow it.
pub fn prefix(text: &str) -> Result<String, String> {
    let text = text.trim_matches('/');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!-_.*'()/=".contains(&byte);
    let sound = text.len() <= 512
        && text.bytes().all(fits)
        && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if text.is_empty() || sound {
        return Ok(text.to_owned());
    }
    Err("is no prefix of a key: letters, digits and !-_.*'()=, with slashes between".to_owned())
}

/// A region's name, such as `eu-central-1`.
///
/// # Errors
/// What is wrong with it, in words that follow it.
pub fn region(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let sound = !text.is_empty() && text.len() <= 64 && text.bytes().all(fits);
    if sound { Ok(text.to_owned()) } else { Err("is no region's name".to_owned()) }
}

/// `https://host:port`, and nothing behind it.
///
/// # Errors
/// What is wrong with it, in words that follow it.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err("is not https://host:port or http://host:port".to_owned()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let authority: http::uri::Authority =
        rest.parse().map_err(|_| "holds more than a host and a port".to_owned())?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err("holds more than a host and a port".to_owned());
    }
    let own = if tls { 443 } else { 80 };
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => own,
        _ => authority.port_u16().filter(|port| *port > 0).ok_or("has a port that is none")?,
    };
    Ok(Endpoint { tls, host: authority.host().to_ascii_lowercase(), port })
}
