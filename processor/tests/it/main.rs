//! Tests of the processor with a fake gateway and a recording queue.
//! (`cfg(test)` tells clippy that these are tests.)

#[cfg(test)]
mod claims;
#[cfg(test)]
mod fake_gateway;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod processing;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod webhook;
