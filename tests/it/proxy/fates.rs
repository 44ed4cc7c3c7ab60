//! What may become of a request that meets each fault of an upstream.

/// What may become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The upstream's answer, whole.
    Whole,
    /// The upstream's answer, cut off.
    Cut,
    /// Cut off before a byte of it has left us.
    Silent,
    /// 502 UPSTREAM_INVALID.
    Invalid,
    /// 502 UPSTREAM_UNREACHABLE.
    Gone,
    /// 504 UPSTREAM_TIMEOUT.
    Late,
}

use Fate::{Cut, Gone, Invalid, Late, Silent, Whole};

/// Every fault, and what may become of a request that meets it.
///
/// Where two fates stand, both keep the promise: a break may be seen before or after the head has
/// been passed on. A break right behind the first chunk may overtake the head that was passed on with
/// it. What a head says is read in one way, whenever its bytes come.
pub(super) const TABLE: &[(&str, &[Fate])] = &[
    ("stall-head", &[Late]),
    ("stall-in-head", &[Late]),
    ("stall-body", &[Cut]),
    ("stall-chunk", &[Cut]),
    ("reset-before-head", &[Gone]),
    ("reset-in-head", &[Gone]),
    ("reset-in-body", &[Cut, Invalid, Gone]),
    ("reset-in-chunk", &[Cut, Invalid, Gone]),
    ("reset-until-close", &[Cut]),
    ("close-silent", &[Gone]),
    ("close-in-head", &[Gone]),
    ("close-in-chunk", &[Cut, Invalid, Silent]),
    ("close-between-chunks", &[Cut, Invalid, Silent]),
    ("close-in-trailers", &[Cut, Invalid, Silent]),
    ("garbage", &[Invalid]),
    ("http09", &[Invalid]),
    ("http2-line", &[Invalid]),
    ("status-99", &[Invalid]),
    ("status-1000", &[Invalid]),
    ("status-000", &[Invalid]),
    ("status-word", &[Invalid]),
    ("status-none", &[Invalid]),
    ("status-no-reason", &[Whole]),
    ("status-reason-bytes", &[Whole]),
    ("status-two-spaces", &[Invalid]),
    ("status-http-1.2", &[Invalid]),
    ("empty-lines-first", &[Whole]),
    ("interim-with-length", &[Whole]),
    ("interim-then-close", &[Gone]),
    ("closing-rest", &[Whole]),
    ("chunk-size-bad", &[Cut, Invalid]),
    ("chunk-size-none", &[Cut, Invalid, Silent]),
    ("chunk-size-negative", &[Cut, Invalid]),
    ("chunk-size-plus", &[Cut, Invalid]),
    ("chunk-size-0x", &[Cut, Invalid]),
    ("chunk-size-over", &[Cut, Invalid]),
    ("chunk-no-crlf", &[Cut, Invalid, Silent]),
    ("chunk-bare-lf", &[Cut, Invalid]),
    ("chunk-extension-huge", &[Cut, Invalid]),
    ("chunk-extension", &[Whole]),
    ("chunk-zeros", &[Whole]),
    ("chunk-blank", &[Whole]),
    ("chunk-extension-quoted", &[Whole]),
    ("trailer-crooked", &[Cut, Invalid, Silent]),
    ("trailer-endless", &[Cut, Invalid, Silent]),
    ("chunk-rest", &[Whole]),
    ("length-long", &[Cut, Invalid]),
    ("length-short", &[Whole]),
    ("length-two", &[Invalid]),
    ("length-twice", &[Whole]),
    ("length-list", &[Whole]),
    ("length-list-two", &[Invalid]),
    ("length-plus", &[Invalid]),
    ("length-minus", &[Invalid]),
    ("length-hex", &[Invalid]),
    ("length-empty", &[Invalid]),
    ("length-over", &[Invalid]),
    ("length-and-chunked", &[Whole]),
    ("chunked-and-length", &[Whole]),
    ("te-gzip-chunked", &[Invalid]),
    ("te-gzip", &[Invalid]),
    ("te-identity", &[Invalid]),
    ("te-chunked-twice", &[Invalid]),
    ("te-chunked-gzip", &[Invalid]),
    ("te-capitals", &[Whole]),
    ("te-tab", &[Whole]),
    ("te-two-lines", &[Invalid]),
    ("te-parameter", &[Invalid]),
    ("te-vertical-tab", &[Invalid]),
    ("te-nothing", &[Invalid]),
    ("te-http10", &[Invalid]),
    ("switch-unasked", &[Invalid]),
    ("continue-flood", &[Invalid]),
    ("header-huge", &[Invalid]),
    ("header-endless", &[Invalid]),
    ("header-many", &[Invalid]),
    ("header-nul", &[Invalid]),
    ("header-cr", &[Invalid]),
    ("header-fold", &[Invalid]),
    ("header-space-colon", &[Invalid]),
    ("header-no-colon", &[Invalid]),
    ("header-no-name", &[Invalid]),
    ("header-bad-name", &[Invalid]),
    ("bare-lf", &[Whole]),
    ("no-content-body", &[Whole]),
    ("no-content-length", &[Whole]),
    ("no-content-later", &[Whole]),
    ("not-modified-body", &[Whole]),
    ("unsolicited", &[Whole]),
    ("close-after", &[Whole]),
    ("reset-after", &[Whole]),
    ("die-on-next", &[Whole]),
    ("dribble=1", &[Whole]),
    ("split", &[Whole]),
];

/// After these a connection to the upstream is as good as before.
pub(super) const HARMLESS: [&str; 13] = [
    "empty-lines-first",
    "interim-with-length",
    "chunk-zeros",
    "chunk-blank",
    "te-capitals",
    "te-tab",
    "bare-lf",
    "chunk-extension",
    "length-twice",
    "length-list",
    "dribble=1",
    "split",
    // The next one is what this is about.
    "die-on-next",
];

/// Faults whose bytes are too many to be sent one by one.
pub(super) const LONG: [&str; 6] = [
    "continue-flood",
    "header-huge",
    "header-endless",
    "header-many",
    "chunk-extension-huge",
    "trailer-endless",
];
