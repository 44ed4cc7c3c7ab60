//! The table of cases.

use super::{Case, Cure, Outcome, Target};

mod body;
mod chunks;
mod connection;
mod crowd;
mod framing;
mod head;
mod host;
mod http2_fields;
mod http2_floods;
mod http2_frames;
mod http2_resets;
mod http2_sizes;
mod http2_slow;
mod http2_windows;
mod judge;
mod method;
mod path;
mod slow;
mod slow_read;
mod upload;

#[cfg(test)]
mod tests;

pub(super) use judge::{ask, no_answer};

/// The case that is asked after each group.
pub(super) const HONEST: &str = "honest";

/// Every case, group by group, in the order in which the groups run.
pub fn all() -> Vec<Case> {
    [
        vec![honest()],
        slow::cases(),
        slow_read::cases(),
        head::cases(),
        body::cases(),
        upload::cases(),
        chunks::cases(),
        framing::cases(),
        host::cases(),
        method::cases(),
        path::cases(),
        connection::cases(),
        http2_slow::cases(),
        http2_windows::cases(),
        http2_frames::cases(),
        http2_fields::cases(),
        http2_sizes::cases(),
        http2_resets::cases(),
        http2_floods::cases(),
        crowd::cases(),
    ]
    .concat()
}

fn honest() -> Case {
    let cure = Cure { advice: "Find out which case of the group it was, by --only.", keys: &[] };
    // What comes of it is for the run to say.
    cure.case(HONEST, HONEST, "an honest request, after each group of attacks", |_| async {
        Outcome::skipped("not asked")
    })
}

/// Whether a group speaks HTTP/2.
pub(super) fn is_http2(group: &str) -> bool {
    group.starts_with("http2")
}

/// Whether the cases of a group run one after the other.
pub(super) fn is_alone(group: &str) -> bool {
    group == crowd::GROUP
}

/// Whether 429 is an answer in a group, and no way around it.
pub(super) fn counts_requests(group: &str) -> bool {
    matches!(group, connection::GROUP | crowd::GROUP)
}

/// Whether the cases of a group do little but wait.
pub(super) fn is_patient(group: &str) -> bool {
    matches!(group, slow::GROUP | http2_slow::GROUP)
}
