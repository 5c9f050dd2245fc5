//! The processor against a gateway that is scripted and a queue that counts.
//! (`cfg(test)` tells clippy that these are tests.)

#[cfg(test)]
mod gateway;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod webhook;
#[cfg(test)]
mod work;
