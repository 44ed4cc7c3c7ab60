use std::sync::Mutex;

use http_body_util::{BodyExt, Empty, Full};
use tower::Service;

use super::*;
use crate::refusal::Reason;

type Log = Arc<Mutex<Vec<&'static str>>>;

/// Notes what it is shown; what it does is in its name.
#[derive(Clone)]
struct Noting(&'static str, Log);

impl Noting {
    fn note(&self, what: &'static str) {
        self.1.lock().unwrap().extend([self.0, what]);
    }
}

impl Stage for Noting {
    type Held = ();

    fn enter<B: Body>(&self, (): &mut (), _: Shared<'_>, _: &mut Request<Inbound<B>>) -> Result<(), Stop> {
        match self.0 {
            "refuses" => Err(Refusal::new(Reason::NotFound, "on purpose").into()),
            "pauses" => {
                self.note("stops");
                Err(Stop::Later)
            }
            "answers" => {
                let answer = Response::new(Bytes::from_static(b"its own"));
                Err(Stop::Answered(Box::new(answer)))
            }
            _ => {
                self.note("in");
                Ok(())
            }
        }
    }

    /// Goes on when it is looked at for the second time.
    fn resume<B: Body>(
        &self,
        (): &mut (),
        _: Shared<'_>,
        _: &mut Request<Inbound<B>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        let looks = self.1.lock().unwrap().iter().filter(|what| **what == "looks").count();
        self.note("looks");
        if looks % 2 == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.note("in");
        Poll::Ready(Ok(()))
    }

    fn wait(&self, (): &mut (), _: &mut Context<'_>) -> Poll<Refusal> {
        match self.0 {
            "hurries" => Poll::Ready(Refusal::new(Reason::RequestTimeout, "on purpose")),
            _ => Poll::Pending,
        }
    }

    fn leave<B>(&self, (): &mut (), _: Shared<'_>, _: &mut Response<Outbound<B>>) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.note("out");
        match self.0 {
            "overrules" => Err(Refusal::new(Reason::ResponseTooLarge, "on purpose")),
            _ => Ok(()),
        }
    }

    fn refused(&self, (): &mut (), _: &mut Refusal) {
        self.note("refused");
    }

    fn frame(&self, (): &mut (), _: &mut Came) {
        self.note("frame");
    }

    fn over(&self, (): &mut (), _: Shared<'_>) {
        self.note("over");
    }
}

/// What stages of these names are shown, and what comes of the request.
async fn shown(names: [&'static str; 2], waits: bool) -> (String, Result<Bytes, Reason>) {
    let log = Log::default();
    let inner = names.map(|name| Noting(name, log.clone())).into();
    let stages: Stages<(), (), (Noting, Noting)> = Stages { outer: (), answer: (), inner };
    let handler = tower::service_fn(move |_: Request<Inbound<Empty<Bytes>>>| async move {
        if waits {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(Full::new(Bytes::from_static(b"the handler's"))))
    });
    let answer = match stages.before(handler).call(Request::new(Empty::new())).await {
        Ok(response) => Ok(response.into_body().collect().await.unwrap().to_bytes()),
        Err(refusal) => Err(refusal.reason),
    };
    let log = log.lock().unwrap().join(" ");
    (log, answer)
}

#[tokio::test]
async fn an_answer_goes_out_the_way_its_request_came_in() {
    let (log, answer) = shown(["a", "b"], false).await;
    assert_eq!(log, "a in b in b out a out b frame a frame b frame a frame b over a over");
    assert_eq!(answer.unwrap(), "the handler's");
}

#[tokio::test]
async fn one_that_stops_a_request_for_a_while_has_it_go_on_from_there() {
    let on = "pauses stops pauses looks pauses looks pauses in";
    let (log, answer) = shown(["pauses", "b"], false).await;
    assert_eq!(
        log,
        format!("{on} b in b out pauses out b frame pauses frame b frame pauses frame b over pauses over")
    );
    assert_eq!(answer.unwrap(), "the handler's");
    let (log, _) = shown(["a", "pauses"], false).await;
    assert!(log.starts_with(&format!("a in {on} pauses out a out")), "{log}");
    let (log, _) = shown(["pauses", "pauses"], false).await;
    assert!(log.starts_with(&format!("{on} {on} pauses out pauses out")), "{log}");
    let (log, answer) = shown(["pauses", "refuses"], false).await;
    assert_eq!((log, answer), (format!("{on} pauses refused pauses over"), Err(Reason::NotFound)));
    // Somebody further out may lose patience meanwhile.
    let (log, answer) = shown(["hurries", "pauses"], false).await;
    assert_eq!(log, "hurries in pauses stops pauses looks");
    assert_eq!(answer, Err(Reason::RequestTimeout));
}

#[tokio::test]
async fn one_that_stops_a_request_is_not_left() {
    let (log, answer) = shown(["a", "refuses"], false).await;
    assert_eq!((log.as_str(), answer), ("a in a refused a over", Err(Reason::NotFound)));
    let (log, answer) = shown(["a", "answers"], false).await;
    assert_eq!(log, "a in a out a frame a frame a over");
    assert_eq!(answer.unwrap(), "its own");
}

#[tokio::test]
async fn a_refusal_on_the_way_out_is_told_to_those_further_out_alone() {
    let (log, answer) = shown(["overrules", "b"], false).await;
    assert_eq!(log, "overrules in b in b out overrules out");
    assert_eq!(answer, Err(Reason::ResponseTooLarge));
    let (log, _) = shown(["a", "overrules"], false).await;
    assert_eq!(log, "a in overrules in overrules out a refused a over");
    let (log, answer) = shown(["a", "hurries"], true).await;
    assert_eq!((log.as_str(), answer), ("a in hurries in a refused a over", Err(Reason::RequestTimeout)));
}

#[tokio::test]
async fn a_request_given_up_is_over() {
    let log = Log::default();
    let handler = tower::service_fn(|_: Request<Inbound<Empty<Bytes>>>| {
        std::future::pending::<Result<Response<Empty<Bytes>>, Refusal>>()
    });
    let stages =
        Stages { outer: Noting("outer", log.clone()), answer: (), inner: Noting("inner", log.clone()) };
    drop(stages.before(handler).call(Request::new(Empty::new())));
    assert_eq!(log.lock().unwrap().join(" "), "outer in inner in inner over outer over");
}

/// Whoever is shown the exchange knows it, whichever way it came.
#[tokio::test]
async fn an_exchange_comes_beside_its_request_or_in_its_extensions() {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    let nobody = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let exchange = Arc::new(Exchange::new(
        SocketAddr::new(nobody, 1),
        nobody,
        crate::protocol::Protocol::Http1,
        tokio::time::Instant::now(),
    ));
    let handler = tower::service_fn(|request: Request<Inbound<Empty<Bytes>>>| async move {
        let known = request.body().exchange().is_some();
        Ok(Response::new(Full::new(Bytes::from(known.to_string()))))
    });
    let mut staged = Stages { outer: (), answer: (), inner: () }.before(handler);
    let mut request = Request::new(Empty::new());
    let unknown = staged.call(request.clone()).await.unwrap();
    request.extensions_mut().insert(exchange.clone());
    let within = staged.call(request).await.unwrap();
    let beside = staged.call(Asked { request: Request::new(Empty::new()), exchange }).await.unwrap();
    for (answer, known) in [(unknown, "false"), (within, "true"), (beside, "true")] {
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), known);
    }
}
