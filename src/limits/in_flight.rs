//! `limits.max_in_flight`: requests being served at a time, 503 with `Retry-After` beyond it.
//!
//! A request counts until the last byte of its response body: an answer that is still streaming
//! costs as much as one that is still being made. What it holds besides its connection (the buffers of
//! an HTTP/2 stream, those of a connection to an upstream) is charged to `limits.memory` here.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, header};
use http_body::Body;

use crate::exchange::Exchange;
use crate::memory::{Charge, MemoryAccount};
use crate::places::{NoPlace, Place, Places};
use crate::protocol::Protocol;
use crate::refusal::{Reason, Refusal};
use crate::stage::{Inbound, Shared, Stage, Stop, alone, field};

/// Bounds the requests in flight. Clones of the layer share one count.
#[derive(Debug, Clone)]
pub struct InFlightLayer {
    places: Places,
    memory: Option<MemoryAccount>,
    stream: u64,
}

impl InFlightLayer {
    /// Serves as many requests at a time as there are places.
    pub fn new(places: Places) -> Self {
        Self { places, memory: None, stream: 0 }
    }

    /// Charges what requests hold to `memory`: `stream` bytes for one that has an HTTP/2 stream.
    #[must_use]
    pub fn charging(self, memory: MemoryAccount, stream: u64) -> Self {
        Self { memory: Some(memory), stream, ..self }
    }
}

alone!(InFlightLayer);

/// One request's share of the limit, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    _place: Place,
    _charge: Option<Charge>,
}

impl InFlightLayer {
    fn acquire(&self, exchange: Option<&Arc<Exchange>>) -> Result<Permit, Refusal> {
        let share = exchange.and_then(|exchange| exchange.share.as_ref());
        let place = self.places.take(share).map_err(|none| self.refusal(none))?;
        Ok(Permit { _place: place, _charge: self.charge(exchange)? })
    }

    fn charge(&self, exchange: Option<&Arc<Exchange>>) -> Result<Option<Charge>, Refusal> {
        let (Some(memory), Some(exchange)) = (&self.memory, exchange) else { return Ok(None) };
        let stream = if exchange.protocol == Protocol::Http2 { self.stream } else { 0 };
        let bytes = stream + exchange.policy().map_or(0, |policy| policy.request_memory);
        if bytes == 0 {
            return Ok(None);
        }
        let charge = memory.open(exchange.share.clone());
        charge.add(bytes, exchange.purpose)?;
        Ok(Some(charge))
    }

    fn refusal(&self, none: NoPlace) -> Refusal {
        let max = self.places.max();
        let detail = match none {
            NoPlace::Full => format!("{max} requests are being served"),
            NoPlace::Share => {
                format!("most of {max} requests are being served, and of those left this client has its part")
            }
        };
        Refusal::new(Reason::Overloaded, detail)
            .limit("limits.max_in_flight")
            .retry_after(Duration::from_secs(1))
    }
}

impl Stage for InFlightLayer {
    type Held = Option<Permit>;

    fn enter<B: Body>(
        &self,
        held: &mut Self::Held,
        exchange: Shared<'_>,
        request: &mut Request<Inbound<B>>,
    ) -> Result<(), Stop> {
        let permit = self.acquire(exchange)?;
        // A tunnel outlives its answer, and counts for as long as it is open: whoever runs
        // it takes a share of what the exchange holds.
        if let Some(exchange) = exchange
            && field(request.headers(), &header::UPGRADE).is_some()
        {
            let _ = exchange.permit.set(Arc::new(permit));
        } else {
            *held = Some(permit);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use tokio::time::Instant;

    use super::*;

    fn exchange(protocol: Protocol) -> Arc<Exchange> {
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Arc::new(Exchange::new(SocketAddr::new(client, 1), client, protocol, Instant::now()))
    }

    #[test]
    fn a_refusal_names_its_limit_and_takes_nothing() {
        let limit = InFlightLayer::new(Places::new(1));
        let first = limit.acquire(None).unwrap();
        let refusal = limit.acquire(None).unwrap_err();
        assert_eq!((refusal.reason, refusal.limit), (Reason::Overloaded, Some("limits.max_in_flight")));
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(1)));
        drop(first);
        assert!(limit.acquire(None).is_ok());
    }

    #[test]
    fn streams_are_charged_and_without_room_are_refused() {
        let memory = MemoryAccount::new(100);
        let limit = InFlightLayer::new(Places::new(9)).charging(memory.clone(), 60);
        let (one, two) = (exchange(Protocol::Http1), exchange(Protocol::Http2));
        let _plain = limit.acquire(Some(&one)).unwrap();
        assert_eq!(memory.used(), 0);
        let stream = limit.acquire(Some(&two)).unwrap();
        assert_eq!(memory.used(), 60);
        let refusal = limit.acquire(Some(&two)).unwrap_err();
        assert_eq!((refusal.reason, refusal.limit), (Reason::Overloaded, Some("limits.memory")));
        drop(stream);
        assert_eq!(memory.used(), 0);
    }
}
