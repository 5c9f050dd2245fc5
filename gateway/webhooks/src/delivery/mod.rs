//! Delivers the events of the log to one endpoint, while this gateway holds it.
//!
//! # Order
//!
//! Messages of different orders are sent concurrently, those of one order one at a time. The next message of an order is sent
//! after the delivery of the one before is saved. So whatever is repeated after a crash is the latest message of an order:
//! its sequence never goes back.
//!
//! # Progress
//!
//! The cursor of the endpoint stays before its oldest event that is not delivered; the delivered ones after it are stored
//! beside it. Nothing is written for an event before it was sent. Events that fail while others succeed become stored messages
//! (see `stored`), and the cursor passes them.
//!
//! # Failing endpoints
//!
//! While an endpoint is failing (see `health`), nothing is read and the queue is empty. When a probe is due, one message is
//! sent, each time of another order if there is one.

mod health;
mod outcomes;
mod positions;
mod queue;
mod reader;
mod reading;
mod run;
mod saving;
mod schedule;
mod sending;
mod state;
mod stored;

pub(crate) use self::state::{Delivery, Ended, Parts};
