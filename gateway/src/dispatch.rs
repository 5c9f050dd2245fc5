//! Pushes due orders to the queue and takes back expired leases.
