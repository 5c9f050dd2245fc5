//! Tests of the subscriber with a gateway in this process, whose answers each test controls.

#[cfg(test)]
mod fake_gateway;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod reading;
