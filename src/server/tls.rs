//! The certificates of the main port while it runs: read at the start, on SIGHUP, and when their files change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::telemetry::Metrics;
use crate::tls::TlsError;
use crate::tls::server::{ClientAuth, Identity, Part, Seen, ServerOptions, ServerTls};

/// How often the files are looked at. Kubernetes takes a minute to bring a change, and a change that is half
/// done is waited for by another look.
const EVERY: Duration = Duration::from_secs(2);

/// Keeps what is in use.
#[derive(Debug)]
pub(super) struct Certificates {
    /// What connections take theirs of.
    pub(super) server: Arc<ServerTls>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    options: ServerOptions,
    identity: Identity,
    /// What the files held that are in use.
    seen: Seen,
    /// What they held that could not be used: said once.
    refused: Option<Seen>,
    /// What they held at the last look: whoever writes them may not be done.
    last: Option<Seen>,
}

impl Certificates {
    /// Reads those of this configuration; `None` without TLS.
    pub(super) fn read(
        config: &Config,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, Vec<(Part, TlsError)>> {
        let Some(options) = config.tls.options(config.http2.enabled) else { return Ok(None) };
        let (seen, identity) = options.load(None);
        let identity = identity?;
        let server = Arc::new(ServerTls::new(&identity));
        show(&identity, metrics);
        let state = State { options, identity, seen, refused: None, last: None };
        Ok(Some(Self { server, metrics: metrics.clone(), state: Mutex::new(state) }))
    }

    /// Reads them again, as they are configured now. Where they are no good, what is in use stays, and the reason
    /// is in the log.
    pub(super) fn reload(&self, config: &Config) {
        // To switch TLS on or off takes another listener.
        if let Some(options) = config.tls.options(config.http2.enabled) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            // What is offered is what is served, which waits for a restart.
            let http2 = state.options.http2;
            self.take(&mut state, ServerOptions { http2, ..options });
        }
    }

    /// A configuration was refused: perhaps for what is in the files.
    pub(super) fn not_reloaded(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, identity) = state.options.load(None);
        if identity.is_err() {
            state.refused = Some(seen);
            self.metrics.tls().reloaded(false);
        }
    }

    /// Looks at the files again and again.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(EVERY).await;
            let certificates = self.clone();
            // A disk may be slow, and a worker must not wait for it.
            let _ = tokio::task::spawn_blocking(move || certificates.look()).await;
        }
    }

    fn look(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = state.options.look();
        // After others that were no good, the ones in use are news as well.
        let is_known = match &state.refused {
            Some(refused) => seen == *refused,
            None => seen == state.seen,
        };
        let is_steady = state.last.as_ref() == Some(&seen);
        state.last = Some(seen);
        if !is_known && is_steady {
            let options = state.options.clone();
            self.take(&mut state, options);
        }
    }

    fn take(&self, state: &mut State, options: ServerOptions) {
        // SECURITY: a ticket stands for the certificate that its client had once. Where clients have some, those who
        // come back are judged anew after a change.
        let are_anonymous = [&options, &state.options].iter().all(|one| one.client_auth == ClientAuth::Off);
        let tickets = are_anonymous.then(|| state.identity.config.ticketer.clone());
        let (seen, identity) = options.load(tickets);
        match identity {
            Ok(identity) => {
                let changed = seen != state.seen || options != state.options;
                let was_refused = state.refused.is_some();
                self.server.replace(&identity);
                show(&identity, &self.metrics);
                (state.options, state.identity, state.seen, state.refused) = (options, identity, seen, None);
                self.metrics.tls().reloaded(true);
                if changed {
                    tracing::info!("certificates reloaded: new connections have the new ones");
                } else if was_refused {
                    tracing::info!("certificates are good again: their files hold the ones in use");
                }
            }
            Err(faults) => {
                state.refused = Some(seen);
                self.metrics.tls().reloaded(false);
                for (part, error) in faults {
                    let setting = part.key();
                    tracing::error!(%error, setting, "certificates not reloaded; the old ones are kept");
                }
            }
        }
    }
}

/// Says what is in use, and what of it should not be.
fn show(identity: &Identity, metrics: &Metrics) {
    let certificates = &identity.certificates;
    let expiry = |one: &crate::tls::server::InUse| Some((one.path.display().to_string(), one.not_after?));
    metrics.tls().in_use(certificates.iter().filter_map(expiry).collect());
    for certificate in certificates.iter().filter(|certificate| certificate.has_expired()) {
        let path = certificate.path.display();
        tracing::warn!(%path, "the certificate has expired: clients that check it will not go on");
    }
}
