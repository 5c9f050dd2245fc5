//! An axum handler that only parses the order and responds with it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::limit::{Limit, cpu_since};
use crate::load::{self, Target};
use crate::servers::{Servers, System};

/// Load before the measurement.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize, Serialize)]
struct Order {
    item: String,
    quantity: u32,
    price: f64,
}

pub(super) async fn serve(addr: SocketAddr) -> io::Result<()> {
    async fn create(Json(order): Json<Order>) -> (StatusCode, Json<Order>) {
        (StatusCode::CREATED, Json(order))
    }
    let listener = tokio::net::TcpListener::bind(addr).await?;
    // It fails if the client has already closed the connection.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, Router::new().route("/orders", post(create))).await
}

pub(crate) fn measure(connections: usize, duration: Duration) -> io::Result<Limit> {
    let mut servers = Servers::without_processes()?;
    let addr = servers.http;
    let (program, to) = (std::env::current_exe()?, addr.to_string());
    servers
        .start_program("server", &program, &["serve", "http", &to], || TcpStream::connect(addr).is_ok())?;
    let target = Target::create(addr);
    load::run_closed_loop(&target, connections, WARM_UP)?;
    let before = servers.cpu()?;
    let totals = load::run_closed_loop(&target, connections, duration)?;
    let name = format!("an HTTP handler (axum) that only parses and responds, {connections} clients");
    let cpu = cpu_since(&servers, &before)?;
    let limit = Limit::new(name, Some(connections), totals.accepted, duration, cpu);
    Ok(limit.for_systems(&[System::Orders, System::Embedded]))
}
