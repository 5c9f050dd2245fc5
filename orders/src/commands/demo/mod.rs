//! `orders demo`: fills a gateway with the orders of a shop, to try the page, the console and the commands.
//!
//! It creates orders, and cancels some that are scheduled. It does not fail orders: that is done by the handler, such as
//! that of `orders dev --simulate-failure-rate 0.05`.

mod shop;

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

use self::shop::{Shop, ShopOrder};
use super::api::Api;
use crate::cli::DemoArgs;
use crate::error::Error;
use crate::output::{Column, Item, Layout, Progress, print_object, text};
use crate::values::now;

/// The result of a demo.
const DEMO: Layout = Layout {
    id: "firstReference",
    none: "",
    columns: &[
        Column::new("CREATED", |result| text(result, "created")),
        Column::new("SCHEDULED", |result| text(result, "scheduled")),
        Column::new("CANCELLED", |result| text(result, "cancelled")),
        Column::new("FIRST REFERENCE", |result| text(result, "firstReference")),
        Column::new("LAST REFERENCE", |result| text(result, "lastReference")),
    ],
};

/// Creates the orders at the rate, one after the other.
pub(super) async fn run(args: DemoArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    let mut shop = Shop::new(args.seed);
    let mut progress = Progress::start();
    let mut ticks = tokio::time::interval_at(Instant::now(), Duration::from_secs(1) / args.rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut scheduled, mut cancelled) = (0_u32, 0_u32);
    let (mut first, mut last) = (String::new(), String::new());
    for n in 0..args.orders {
        ticks.tick().await;
        let ShopOrder { mut order, reference, starts_in, is_cancelled } = shop.order();
        if let Some(time) = starts_in {
            order["processAfter"] = (now() + time).to_string().into();
            scheduled += 1;
        }
        let created = api.post("/orders", &order).await?;
        if is_cancelled {
            let body = json!({"reason": "the customer changed her mind"});
            api.post(&format!("/orders/{}/cancel", text(&created, "id")), &body).await?;
            cancelled += 1;
        }
        if n == 0 {
            first.clone_from(&reference);
        }
        last = reference;
        progress.show(u64::from(n) + 1, u64::from(args.orders), || format!("{} orders created", n + 1));
    }
    progress.finish();
    let result = json!({
        "created": args.orders, "scheduled": scheduled, "cancelled": cancelled,
        "firstReference": first, "lastReference": last,
    });
    print_object(args.format.format(), &DEMO, &Item::from(result), |_| {
        format!(
            "{} orders are created, {first} to {last}: {scheduled} are scheduled, of which {cancelled} are cancelled\n",
            args.orders
        )
    })
}
