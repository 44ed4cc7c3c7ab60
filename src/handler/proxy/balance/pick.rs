//! The choice of an address: on the way of every request.

use std::net::SocketAddr;
use std::sync::Arc;

use super::ejection::Standing;
use super::{Endpoint, Group, GroupOptions, Lease, Unavailable};
use crate::random;

/// How often a choice is repeated that another request was quicker to take.
const TRIES: usize = 3;

/// What a request knows when it picks.
#[derive(Debug, Clone, Copy)]
struct Choice<'a> {
    tried: &'a [SocketAddr],
    options: &'a GroupOptions,
}

/// How good an address is for a request, the lowest the best; and how it stands.
type Rank = (u8, Standing);

impl Choice<'_> {
    /// `None` if the address is not to be asked.
    fn rank<P>(self, endpoint: &Endpoint<P>) -> Option<Rank> {
        let standing = endpoint.standing(self.options);
        let tried = self.tried.contains(&endpoint.address);
        let rank = match standing {
            Standing::Ready if !tried => 0,
            // A request that has failed once does not test what may be out still.
            Standing::Trial if !tried => u8::from(!self.tried.is_empty()),
            // One that was put aside may be back, and says at once if it is not; where the request has
            // been is where it failed a moment ago.
            Standing::Refusing if !tried => 2,
            Standing::Ready | Standing::Trial => 3,
            Standing::Refusing => 4,
            Standing::Down => return None,
        };
        Some((rank, standing))
    }

    /// Takes the better of two addresses of one rank.
    fn take<P>(
        self,
        first: (&Arc<Endpoint<P>>, Standing),
        second: (&Arc<Endpoint<P>>, Standing),
    ) -> Option<Lease<P>> {
        // A trial goes first: behind the load of what it still serves, the address might not be tried
        // for hours. Which one is first was drawn, so a tie is broken at random.
        let load = |(endpoint, standing): (&Arc<Endpoint<P>>, Standing)| match standing {
            Standing::Trial => 0,
            _ => endpoint.in_flight().saturating_add(1),
        };
        let (endpoint, standing) = if load(second) < load(first) { second } else { first };
        endpoint.take(standing, self.options)
    }

    /// The usual case: both of two drawn addresses are as good as can be.
    fn draw<P>(self, endpoints: &[Arc<Endpoint<P>>]) -> Option<Lease<P>> {
        let (one, other) = two_of(endpoints.len());
        let (one, other) = (endpoints.get(one)?, endpoints.get(other)?);
        match (self.rank(one)?, self.rank(other)?) {
            ((0, first), (0, second)) => self.take((one, first), (other, second)),
            _ => None,
        }
    }

    /// The same among those that are left: the ones of the best rank that there is.
    fn search<P>(self, endpoints: &[Arc<Endpoint<P>>]) -> Option<Lease<P>> {
        let mut best: Option<(u8, usize)> = None;
        for (rank, _) in endpoints.iter().filter_map(|endpoint| self.rank(endpoint)) {
            best = match best {
                Some((lowest, count)) if lowest == rank => Some((lowest, count + 1)),
                Some((lowest, count)) if lowest < rank => Some((lowest, count)),
                _ => Some((rank, 1)),
            };
        }
        let (best, count) = best?;
        let (one, other) = if count > 1 { two_of(count) } else { (0, 0) };
        let (mut first, mut second, mut at) = (None, None, 0);
        for endpoint in endpoints {
            if let Some((rank, standing)) = self.rank(endpoint)
                && rank == best
            {
                first = if at == one { Some((endpoint, standing)) } else { first };
                second = if at == other { Some((endpoint, standing)) } else { second };
                at += 1;
            }
        }
        let first = first.or(second)?;
        self.take(first, second.unwrap_or(first))
    }
}

/// Two different numbers below `count`, which is at least 2, in random order.
fn two_of(count: usize) -> (usize, usize) {
    let bits = random::bits();
    // By multiplication, not by the remainder: no division, and even to one in 2^32 per address.
    let below = |bits: u64, count: usize| (((bits & 0xffff_ffff) * count as u64) >> 32) as usize;
    let first = below(bits, count);
    let second = below(bits >> 32, count.saturating_sub(1));
    (first, second + usize::from(second >= first))
}

impl<P> Group<P> {
    /// An address for a request that has already failed at those in `tried`. The best that there is:
    /// an available one that was not tried, one that is put aside but refuses at once, an available one that
    /// was tried.
    pub fn pick(&self, tried: &[SocketAddr]) -> Result<Lease<P>, Unavailable> {
        if tried.is_empty() {
            self.earn_retry();
        }
        let endpoints = self.members();
        let choice = Choice { tried, options: self.options() };
        if endpoints.is_empty() {
            return Err(Unavailable::NoAddress(self.why_no_address()));
        }
        if let [only] = endpoints.as_slice() {
            let lease = || choice.rank(only).and_then(|(_, standing)| only.take(standing, choice.options));
            return lease().or_else(lease).ok_or(Unavailable::AllDown);
        }
        if let Some(lease) = choice.draw(&endpoints) {
            return Ok(lease);
        }
        let quicker = (0..TRIES).find_map(|_| choice.search(&endpoints));
        // Others were quicker every time: any one will do.
        let any =
            || endpoints.iter().find_map(|endpoint| endpoint.take(choice.rank(endpoint)?.1, choice.options));
        quicker.or_else(any).ok_or(Unavailable::AllDown)
    }
}
