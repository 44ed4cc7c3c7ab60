//! Which traces are recorded (OpenTelemetry SDK specification, "Sampling").

use std::fmt;

use super::context::{Parent, TraceId};

/// A part of all, in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio(u32);

impl Ratio {
    /// All.
    pub const ONE: Self = Self(1_000_000_000);

    /// `0.01`; at most nine decimals count.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b".eE-".contains(&byte));
        let ratio: f64 = text.parse().ok().filter(|_| plain)?;
        let whole = f64::from(Self::ONE.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and a billion"
        )]
        (0.0..=1.0).contains(&ratio).then(|| Self((ratio * whole).round() as u32))
    }

    /// Ids under this are within it: of 2^63.
    fn threshold(self) -> u64 {
        let part = (u128::from(self.0) << 63) / u128::from(Self::ONE.0);
        u64::try_from(part).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(Self::ONE.0))
    }
}

/// What is decided for a trace that begins here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Each is recorded.
    On,
    /// None is.
    Off,
    /// So many are, by their id: whoever decides by the same ratio decides the same.
    Ratio(Ratio),
}

/// Decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    /// Traces that begin here; all of them, where parents have no say.
    root: Root,
    threshold: u64,
    by_parent: bool,
}

impl Sampler {
    /// By `root`, or where there is a parent and `by_parent`, as was decided there.
    pub fn new(root: Root, by_parent: bool) -> Self {
        let threshold = match root {
            Root::On => 1 << 63,
            Root::Off => 0,
            Root::Ratio(ratio) => ratio.threshold(),
        };
        Self { root, threshold, by_parent }
    }

    /// What is decided for traces that begin here.
    pub fn root(&self) -> Root {
        self.root
    }

    /// Whether the trace is recorded. `parent` is to be one that is believed.
    pub(super) fn samples(&self, parent: Option<&Parent>, id: TraceId) -> bool {
        match parent {
            Some(parent) if self.by_parent => parent.is_sampled(),
            _ => id.chance() >> 1 < self.threshold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::context::{SAMPLED, SpanId};

    #[test]
    fn a_ratio_is_between_none_and_all() {
        for (text, shown) in
            [("0", "0"), ("1", "1"), ("1.0", "1"), (".5", "0.5"), ("0.01", "0.01"), ("1e-3", "0.001")]
        {
            assert_eq!(Ratio::parse(text).unwrap().to_string(), shown);
        }
        for text in ["", "-0.1", "1.1", "2", "x", "nan", "inf", "1%", "0,5", " 1"] {
            assert_eq!(Ratio::parse(text), None, "{text}");
        }
    }

    #[test]
    fn so_many_are_sampled_as_were_asked_for() {
        for (ratio, of) in [("0", 0.0), ("0.01", 0.01), ("0.5", 0.5), ("1", 1.0)] {
            let sampler = Sampler::new(Root::Ratio(Ratio::parse(ratio).unwrap()), false);
            let many = 200_000;
            let sampled = (0..many).filter(|_| sampler.samples(None, TraceId::random())).count() as f64;
            // Six standard deviations: one run in a billion is further off.
            let spread = 6.0 * (f64::from(many) * of * (1.0 - of)).sqrt();
            assert!((sampled - f64::from(many) * of).abs() <= spread, "{ratio}: {sampled}");
        }
    }

    #[test]
    fn one_id_is_sampled_at_every_higher_ratio() {
        let samplers =
            ["0.1", "0.3", "0.9"].map(|ratio| Sampler::new(Root::Ratio(Ratio::parse(ratio).unwrap()), false));
        for _ in 0..10_000 {
            let id = TraceId::random();
            assert!(samplers.map(|sampler| sampler.samples(None, id)).is_sorted());
        }
    }

    #[test]
    fn a_parent_decides_where_it_is_asked() {
        let parent = |flags| Parent { trace_id: TraceId::random(), span_id: SpanId::random(), flags };
        for (root, by_parent, flags, sampled) in [
            (Root::On, true, 0, false),
            (Root::Off, true, SAMPLED, true),
            (Root::On, false, 0, true),
            (Root::Off, false, SAMPLED, false),
            (Root::Ratio(Ratio::ONE), true, 0, false),
            (Root::Ratio(Ratio::ONE), false, 0, true),
        ] {
            let parent = parent(flags);
            let sampler = Sampler::new(root, by_parent);
            assert_eq!(sampler.samples(Some(&parent), parent.trace_id), sampled, "{root:?} {by_parent}");
        }
        assert!(Sampler::new(Root::On, true).samples(None, TraceId::random()));
    }
}
