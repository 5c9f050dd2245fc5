//! The store and its server: locks that are not released, connections that are closed.

use std::time::Duration;

use domain::transition::{Command, Rules};
use domain::{Draft, LeaseToken, OrderId};
use gateway::Store;
use gateway::store::{CommandOutcome, NewOrder, Options};
use test_database::Database;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use url::Url;

use crate::harness::{Backend, On};

async fn insert(store: &Store, count: usize) -> Vec<OrderId> {
    let draft = Draft {
        item: Some("Laptop".into()),
        quantity: Some(1),
        price: Some("1.00".into()),
        ..Draft::default()
    };
    let now = store.now();
    let content = draft.check(domain::Currency::USD).unwrap();
    let orders: Vec<NewOrder> = (0..count)
        .map(|_| NewOrder::new(OrderId::new(now), domain::TenantId::default(), content.clone(), now))
        .collect();
    let ids = orders.iter().map(|order| order.id).collect();
    store.insert(orders.into_iter().map(Into::into).collect()).await.unwrap();
    ids
}

fn start(id: OrderId) -> (OrderId, Command) {
    (id, Command::start(LeaseToken::random()))
}

/// A gateway that freezes in the middle of a transaction keeps its rows locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_order_does_not_block_other_orders() {
    let backend = Backend::new(On::Servers).await;
    let ids = insert(&backend.store, 3).await;
    let unknown = OrderId::new(backend.store.now());
    let mut frozen = Database::connect(backend.url()).await.unwrap();
    frozen.run("START TRANSACTION").await.unwrap();
    let id = ids[1].to_string().replace('-', "");
    frozen.run(format!("SELECT id FROM orders WHERE id = x'{id}' FOR UPDATE")).await.unwrap();

    let mut commands: Vec<_> = ids.iter().map(|id| start(*id)).collect();
    commands.push(start(unknown));
    let applied = backend.store.apply(commands.into(), Rules::default()).await.unwrap();
    assert!(
        matches!(
            applied[..],
            [
                CommandOutcome::Changed { .. },
                CommandOutcome::Locked,
                CommandOutcome::Changed { .. },
                CommandOutcome::NotFound
            ]
        ),
        "{applied:?}"
    );

    frozen.run("ROLLBACK").await.unwrap();
    let applied = backend.store.apply([start(ids[1])].into(), Rules::default()).await.unwrap();
    assert!(matches!(applied[..], [CommandOutcome::Changed { .. }]), "{applied:?}");
}

/// A server that was restarted while there were no requests.
#[tokio::test(flavor = "multi_thread")]
async fn connections_closed_while_idle_fail_no_request() {
    let backend = Backend::new(On::Servers).await;
    let ids = insert(&backend.store, 1).await;
    let mut way = Way::to(backend.url()).await;
    let store = Store::connect(&way.url, &Options::default()).await.unwrap();
    assert_eq!(store.orders(&domain::Principal::anonymous(), &ids).await.unwrap().len(), 1);
    insert(&store, 1).await;
    way.cut();
    // Recently used connections are not tested.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.orders(&domain::Principal::anonymous(), &ids).await.unwrap().len(), 1);
    insert(&store, 1).await;
}

/// A proxy to the database whose connections can be closed.
struct Way {
    url: String,
    open: mpsc::Receiver<AbortHandle>,
}

impl Way {
    async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(3306));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let (opened, open) = mpsc::channel(100);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                let connection = tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
                opened.send(connection.abort_handle()).await.unwrap();
            }
        });
        Self { url: url.to_string(), open }
    }

    /// Closes every open connection; new ones work.
    fn cut(&mut self) {
        while let Ok(connection) = self.open.try_recv() {
            connection.abort();
        }
    }
}
