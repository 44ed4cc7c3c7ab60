//! The same over HTTP/2, on the `h2` crate.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::client::{Answer, Body, Request};
use super::wire::{Broken, Fields, Framing, bytes, latin1};

/// One HTTP/2 connection. It lives as long as its runtime, or until its last handle is dropped.
#[derive(Clone)]
pub(crate) struct Client2 {
    send: SendRequest<Bytes>,
}

/// The fields of a map, in its order.
pub(crate) fn fields_of(map: &HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.to_string(), latin1(value.as_bytes()))).collect()
}

/// A map of fields.
pub(crate) fn map_of(fields: &Fields) -> HeaderMap {
    let field = |(name, value): &(String, String)| {
        let name = HeaderName::from_bytes(&bytes(&name.to_ascii_lowercase())).expect("a field name");
        (name, HeaderValue::from_bytes(&bytes(value)).expect("a field value"))
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        map.append(name, value);
    }
    map
}

/// Sends all of it, as fast as the window allows.
pub(crate) async fn send_all(
    stream: &mut h2::SendStream<Bytes>,
    bytes: Bytes,
    end: bool,
) -> Result<(), h2::Error> {
    let mut rest = bytes;
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => room?,
            None => return Ok(()),
        };
        let part = rest.split_to(room.min(rest.len()));
        let last = end && rest.is_empty();
        stream.send_data(part, last)?;
    }
    Ok(())
}

/// A code for what ended a stream.
fn broken(error: &h2::Error) -> Broken {
    match error.reason() {
        Some(reason) => Broken::Reset(reason.into()),
        None => Broken::Syntax(error.to_string()),
    }
}

impl Client2 {
    /// Connects, by prior knowledge.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let _ = stream.set_nodelay(true);
        // An answer that trickles in byte by byte is many frames. On a busy machine they pile up here, and
        // the library would end the connection for that.
        let handshake = h2::client::Builder::new().data_frame_budget(1 << 24).handshake(stream);
        let (send, connection) = handshake.await.expect("a handshake");
        tokio::spawn(connection);
        Self { send }
    }

    /// Sends a request, and waits for its answer; nothing without a head.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Answer, Broken> {
        let waiting = self.begin(request).await?;
        let answer = waiting.await.map_err(|error| broken(&error))?;
        Ok(read(answer).await)
    }

    /// Sends a request, and hands out what its head will come from.
    pub(crate) async fn begin(&self, request: &Request) -> Result<h2::client::ResponseFuture, Broken> {
        let mut send = self.send.clone().ready().await.map_err(|error| broken(&error))?;
        let uri = format!("http://{}{}", request.host, request.target);
        let mut head = http::Request::builder().method(request.method.as_str()).uri(uri);
        let mut fields = request.fields.clone();
        if let Body::Whole(body) = &request.body {
            fields.push(("content-length".to_owned(), body.len().to_string()));
        }
        *head.headers_mut().expect("a request") = map_of(&fields);
        let head = head.body(()).expect("a request");
        let bodiless = matches!(request.body, Body::None);
        let (answer, mut upload) = send.send_request(head, bodiless).map_err(|error| broken(&error))?;
        // An answer may come before the body is taken, and an upload end with it.
        match request.body.clone() {
            Body::None => {}
            Body::Whole(body) if body.is_empty() => _ = upload.send_data(Bytes::new(), true),
            Body::Whole(body) => {
                tokio::spawn(async move { send_all(&mut upload, body.into(), true).await });
            }
            Body::Parts(parts, trailers) => {
                tokio::spawn(async move {
                    for part in parts {
                        send_all(&mut upload, part.into(), false).await?;
                    }
                    if trailers.is_empty() {
                        upload.send_data(Bytes::new(), true)
                    } else {
                        upload.send_trailers(map_of(&trailers))
                    }
                });
            }
        }
        Ok(answer)
    }
}

/// Reads an answer to its end.
pub(crate) async fn read(answer: http::Response<RecvStream>) -> Answer {
    let (head, mut stream) = answer.into_parts();
    let mut answer = Answer {
        status: head.status.as_u16(),
        fields: fields_of(&head.headers),
        framing: Framing::Close,
        body: Vec::new(),
        trailers: Vec::new(),
        interim: Vec::new(),
        cut: None,
    };
    while let Some(part) = stream.data().await {
        match part {
            Ok(part) => {
                let _ = stream.flow_control().release_capacity(part.len());
                answer.body.extend_from_slice(&part);
            }
            Err(error) => {
                answer.cut = Some(broken(&error));
                return answer;
            }
        }
    }
    match stream.trailers().await {
        Ok(trailers) => answer.trailers = trailers.as_ref().map(fields_of).unwrap_or_default(),
        Err(error) => answer.cut = Some(broken(&error)),
    }
    answer
}
