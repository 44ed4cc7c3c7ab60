//! `STARTING → RUNNING → DRAINING → STOPPING`: the phases, what moves them, and nothing else.

/// Where the process is in its life. Phases only ever move down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Building; the socket is not listening yet.
    Starting,
    /// Serving.
    Running,
    /// Asked to go. Within the drain delay new requests are still served; after it they are refused.
    Draining,
    /// What is left is being cut off.
    Stopping,
}

/// What can happen to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The listener is bound and accepting.
    Listening,
    /// SIGTERM: drain, with the delay that lets load balancers notice.
    Terminate,
    /// SIGINT: drain at once; a person is waiting.
    Interrupt,
    /// Everything in flight is finished.
    Drained,
    /// The drain deadline passed.
    DeadlinePassed,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Running, Self::Draining, Self::Stopping];

    /// As in the bodies, the log and the label of `nessen_phase`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Draining => "DRAINING",
            Self::Stopping => "STOPPING",
        }
    }

    /// The phase after `event`. Pure, total and monotone: no event ever leads back.
    #[must_use]
    pub const fn next(self, event: Event) -> Self {
        match (self, event) {
            (Self::Starting, Event::Listening) => Self::Running,
            // Nothing is served yet, so there is nothing to drain.
            (Self::Starting, Event::Terminate | Event::Interrupt) => Self::Stopping,
            (Self::Running, Event::Terminate | Event::Interrupt) => Self::Draining,
            // A second signal of either kind means now.
            (Self::Draining, Event::Terminate | Event::Interrupt) => Self::Stopping,
            (Self::Draining, Event::Drained | Event::DeadlinePassed) => Self::Stopping,
            (phase, _) => phase,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Event::*;
    use super::Phase::*;

    #[test]
    fn every_pair_of_phase_and_event_has_its_successor() {
        let events = [Listening, Terminate, Interrupt, Drained, DeadlinePassed];
        let table = [
            (Starting, [Running, Stopping, Stopping, Starting, Starting]),
            (Running, [Running, Draining, Draining, Running, Running]),
            (Draining, [Draining, Stopping, Stopping, Stopping, Stopping]),
            (Stopping, [Stopping, Stopping, Stopping, Stopping, Stopping]),
        ];
        for (phase, successors) in table {
            for (event, successor) in events.into_iter().zip(successors) {
                assert_eq!(phase.next(event), successor, "{phase:?} on {event:?}");
                assert!(successor >= phase, "{phase:?} on {event:?} went back");
            }
        }
    }
}
