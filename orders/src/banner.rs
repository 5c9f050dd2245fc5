//! The text that `orders dev` prints when it is ready.

use std::fmt;
use std::net::SocketAddr;

/// The addresses and parts of a running program.
pub(crate) struct Banner {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    /// The address of the admin server, if there is one.
    pub(crate) admin: Option<SocketAddr>,
    /// Whether requests need a credential.
    pub(crate) needs_credential: bool,
    /// Whether the pages for developers are served.
    pub(crate) developer_tools: bool,
    /// Whether each port has a certificate: HTTP and gRPC.
    pub(crate) tls: [bool; 2],
    /// The database, without its password.
    pub(crate) database: String,
    /// Redis without its password, or `None` when the queue and the bus are in memory.
    pub(crate) redis: Option<String>,
    /// A description of the handler.
    pub(crate) handler: String,
    /// The SMTP server without its password, if e-mail is sent.
    pub(crate) email: Option<String>,
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { http, grpc, admin, tls: [https, grpc_tls], database, redis, handler, .. } = self;
        let url = |addr: &SocketAddr, tls: bool| format!("{}://{addr}", if tls { "https" } else { "http" });
        let metrics = match admin {
            Some(admin) => url(admin, *https && !admin.ip().to_canonical().is_loopback()),
            None => url(http, *https),
        };
        let http = url(http, *https);
        let grpc_tls = if *grpc_tls { "   (TLS)" } else { "" };
        let queue = redis.as_deref().unwrap_or("in memory");
        writeln!(f, "\norders {} is ready\n", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "  Page        {http}/")?;
        writeln!(f, "  Console     {http}/console")?;
        if self.developer_tools {
            writeln!(f, "  REST        {http}/orders       docs: {http}/docs")?;
            writeln!(f, "  GraphQL     {http}/graphql      try: {http}/graphiql  {http}/playground")?;
        } else {
            writeln!(f, "  REST        {http}/orders")?;
            writeln!(f, "  GraphQL     {http}/graphql")?;
        }
        writeln!(f, "  gRPC        {grpc}{grpc_tls}")?;
        writeln!(f, "  Metrics     {metrics}/metrics\n")?;
        writeln!(f, "  Database    {database}   (DATABASE_URL changes it)")?;
        writeln!(f, "  Queue       {queue}   (REDIS_URL changes it)")?;
        writeln!(f, "  Bus         {queue}   (REDIS_URL changes it)")?;
        writeln!(f, "  Handler     {handler}   (ORDERS_HANDLER changes it)")?;
        if let Some(email) = &self.email {
            writeln!(f, "  E-mail      {email}   (ORDERS_SMTP_URL changes it)")?;
        }
        writeln!(f)?;
        let header = if self.needs_credential {
            writeln!(f, "Create an order with an API key in ORDERS_TOKEN, and see it go to `completed`:\n")?;
            " -H \"Authorization: Bearer $ORDERS_TOKEN\""
        } else {
            writeln!(f, "Create an order, and see it go to `completed`:\n")?;
            ""
        };
        writeln!(
            f,
            "  curl -X POST {http}/orders{header} -H 'Content-Type: application/json' \
             -d '{{\"item\":\"Laptop\",\"quantity\":2,\"price\":1299.99}}'"
        )?;
        writeln!(f, "  curl {http}/orders{header}\n")?;
        writeln!(f, "Press Ctrl-C to stop; accepted orders are kept.")
    }
}
