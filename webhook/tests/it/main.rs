//! The client with real connections.
//! (`cfg(test)` tells clippy that these are tests.)

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod receiver;
