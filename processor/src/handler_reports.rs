//! What handlers report while they run: progress and checkpoints.

use std::collections::{BTreeMap, VecDeque};

use domain::{InvalidJsonText, JsonText, OrderId};
use proto::v1;
use tokio::sync::{mpsc, oneshot};

use crate::requests::LeaseKey;

/// The number of reports that wait for the processor. Progress beyond it is dropped.
const MAX_WAITING: usize = 256;
/// The number of checkpoints without a response; further ones wait.
const MAX_CHECKPOINTS_IN_FLIGHT: usize = 8;

/// Why a checkpoint is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be stored.
    #[error("the checkpoint {0}")]
    Invalid(InvalidJsonText),
    /// The attempt has lost its lease: the handler is being stopped.
    #[error("the attempt has lost its lease")]
    LeaseLost,
    /// Only a processor to which gateways assign jobs stores checkpoints.
    #[error("a processor with its own queue stores no checkpoints")]
    Unsupported,
}

/// A report of a handler.
#[derive(Debug)]
pub(crate) enum HandlerReport {
    Progress { lease: LeaseKey, percent: Option<u8>, note: String },
    Checkpoint(Checkpoint),
}

/// A checkpoint that a handler waits for.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    lease: LeaseKey,
    json: JsonText,
    /// Dropped if the checkpoint is refused.
    recorded: oneshot::Sender<()>,
}

/// The way from a handler to its processor; `None` for a processor without checkpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReportSender(Option<mpsc::Sender<HandlerReport>>);

impl ReportSender {
    pub(crate) fn new() -> (Self, mpsc::Receiver<HandlerReport>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(Some(sender)), receiver)
    }

    pub(crate) fn progress(&self, lease: LeaseKey, percent: Option<u8>, note: String) {
        if let Some(sender) = &self.0 {
            // The next report replaces one that is dropped.
            let _ = sender.try_send(HandlerReport::Progress { lease, percent, note });
        }
    }

    pub(crate) async fn checkpoint(&self, lease: LeaseKey, json: JsonText) -> Result<(), CheckpointError> {
        let sender = self.0.as_ref().ok_or(CheckpointError::Unsupported)?;
        let (recorded, response) = oneshot::channel();
        let checkpoint = HandlerReport::Checkpoint(Checkpoint { lease, json, recorded });
        sender.send(checkpoint).await.map_err(|_| CheckpointError::LeaseLost)?;
        response.await.map_err(|_| CheckpointError::LeaseLost)
    }
}

/// The checkpoints without a response.
#[derive(Default)]
pub(crate) struct Checkpoints {
    waiting: VecDeque<Checkpoint>,
    sent: BTreeMap<u64, Checkpoint>,
    latest: u64,
}

impl Checkpoints {
    pub(crate) fn add(&mut self, checkpoint: Checkpoint) {
        self.waiting.push_back(checkpoint);
    }

    /// Returns the next message, if one can be sent.
    pub(crate) fn next(&mut self) -> Option<v1::Checkpoint> {
        if self.sent.len() >= MAX_CHECKPOINTS_IN_FLIGHT {
            return None;
        }
        let checkpoint = self.waiting.pop_front()?;
        self.latest += 1;
        let message = v1::Checkpoint {
            number: self.latest,
            lease: Some(v1::Lease::new(checkpoint.lease.order_id, checkpoint.lease.token)),
            json: checkpoint.json.as_str().to_owned(),
        };
        self.sent.insert(self.latest, checkpoint);
        Some(message)
    }

    /// Ends the wait of a handler. Returns the order of a refused checkpoint.
    pub(crate) fn record_response(&mut self, number: u64, is_refused: bool) -> Option<OrderId> {
        let checkpoint = self.sent.remove(&number)?;
        if is_refused {
            return Some(checkpoint.lease.order_id);
        }
        // A handler that was stopped does not wait.
        let _ = checkpoint.recorded.send(());
        None
    }

    /// Sends those without a response again, on another stream.
    pub(crate) fn repeat(&mut self) {
        for (_, checkpoint) in std::mem::take(&mut self.sent).into_iter().rev() {
            self.waiting.push_front(checkpoint);
        }
    }
}
