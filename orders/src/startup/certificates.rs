//! Keeps the certificates of a process current.

use std::sync::Arc;

use gateway::PortCertificates;
use tls::{ClientTls, RELOAD_INTERVAL, keep_current};

use crate::signal::Signals;

/// Reads the certificates of the ports again when they change and on SIGHUP, until the program ends.
pub(super) fn keep_ports_current(ports: &PortCertificates, signals: &Signals) {
    let ports: Vec<_> = [&ports.http, &ports.grpc].into_iter().flatten().cloned().collect();
    if !ports.is_empty() {
        let reload = move || ports.iter().for_each(|port| port.reload());
        tokio::spawn(keep_current(RELOAD_INTERVAL, signals.reload_requests(), reload));
    }
}

/// Reads the certificates of a processor again when they change and on SIGHUP, until the program ends.
pub(crate) fn keep_client_current(client: &Arc<ClientTls>, signals: &Signals) {
    let client = client.clone();
    tokio::spawn(keep_current(RELOAD_INTERVAL, signals.reload_requests(), move || client.reload()));
}
