//! What a service manager is told about this process: `sd_notify(3)`.
//!
//! Without `NOTIFY_SOCKET` in the environment, which is everywhere but under systemd's `Type=notify`,
//! all of it does nothing. A message that cannot be sent is dropped: the manager has time-outs.

use sd_notify::NotifyState::{Ready, Reloading, Status, Stopping, Watchdog};
use sd_notify::{NotifyState, notify, watchdog_enabled};

/// It serves; `status` is for `systemctl status`.
pub fn ready(status: &str) {
    let _ = notify(&[Ready, Status(status)]);
}

/// It reads its configuration again; [`ready`] ends that.
pub fn reloading() {
    // `Type=notify-reload` wants to know since when.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => drop(notify(&[Reloading, now])),
        Err(_) => drop(notify(&[Reloading])),
    }
}

/// It drains.
pub fn stopping(status: &str) {
    let _ = notify(&[Stopping, Status(status)]);
}

/// Says that it lives, twice in the time after which the manager (`WatchdogSec=`) would take it for
/// dead. For ever, or not at all where the manager does not watch. A runtime whose threads are all
/// stuck does not get to say it, which is the use of it.
pub async fn keep_alive() {
    let Some(time) = watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(time / 2);
    loop {
        ticks.tick().await;
        let _ = notify(&[Watchdog]);
    }
}
