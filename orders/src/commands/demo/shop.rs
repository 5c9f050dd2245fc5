//! The orders of a shop: the same seed gives the same orders.

use std::time::Duration;

use serde_json::{Value, json};

/// Products with their prices in euros. The first ones are ordered most.
const PRODUCTS: [(&str, &str); 24] = [
    ("Coffee beans, 1 kg", "18.90"),
    ("Paper filters, 100 pieces", "3.49"),
    ("Porcelain cup", "9.95"),
    ("Milk frother", "24.90"),
    ("Tea sampler, 12 sorts", "21.50"),
    ("Espresso spoon, set of 6", "14.90"),
    ("Hand grinder", "89.00"),
    ("Pour-over kettle", "64.90"),
    ("French press, 1 l", "32.95"),
    ("Cleaning tablets", "11.99"),
    ("Glass carafe", "27.50"),
    ("Kitchen scale", "39.90"),
    ("Thermos flask, 0.75 l", "34.95"),
    ("Biscuit tin", "12.90"),
    ("Chocolate, 70 %", "4.20"),
    ("Apron, linen", "29.00"),
    ("Tray, walnut", "49.00"),
    ("Water filter", "16.80"),
    ("Sugar bowl", "13.50"),
    ("Cold brew maker", "58.00"),
    ("Electric grinder", "229.00"),
    ("Filter machine", "189.00"),
    ("Espresso machine", "649.00"),
    ("Espresso machine, two circuits", "1899.00"),
];
const FIRST_NAMES: [&str; 20] = [
    "ann", "ben", "carla", "david", "elena", "felix", "greta", "hugo", "ines", "jonas", "karin", "luca",
    "mara", "nils", "olga", "paul", "rosa", "simon", "tara", "viktor",
];
const LAST_NAMES: [&str; 16] = [
    "becker", "costa", "dubois", "eriksson", "ferrari", "garcia", "hansen", "ivanova", "jansen", "keller",
    "lopez", "meier", "novak", "olsen", "peters", "rossi",
];
/// The first reference is WEB-1001.
const FIRST_REFERENCE: u64 = 1_001;

/// A shop, which gets orders.
#[derive(Debug)]
pub(super) struct Shop {
    random: Random,
    next: u64,
}

/// An order, without the times that depend on the present.
#[derive(Debug, PartialEq)]
pub(super) struct ShopOrder {
    pub(super) order: Value,
    pub(super) reference: String,
    /// Time until the earliest start of a scheduled order.
    pub(super) starts_in: Option<Duration>,
    /// Whether the customer cancels the scheduled order.
    pub(super) is_cancelled: bool,
}

impl Shop {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random(seed), next: FIRST_REFERENCE }
    }

    /// Returns the next order.
    pub(super) fn order(&mut self) -> ShopOrder {
        let random = &mut self.random;
        let reference = format!("WEB-{}", self.next);
        self.next += 1;
        let first = FIRST_NAMES[random.below_squared(FIRST_NAMES.len())];
        let last = LAST_NAMES[random.below_squared(LAST_NAMES.len())];
        let mut lines: Vec<Value> = Vec::new();
        for _ in 0..=random.below_squared(4) {
            let (item, price) = PRODUCTS[random.below_squared(PRODUCTS.len())];
            if lines.iter().all(|line| line["item"] != item) {
                lines.push(json!({"item": item, "quantity": 1 + random.below_squared(4), "price": price}));
            }
        }
        let priority = match random.below(20) {
            0 | 1 => "high",
            2 | 3 => "low",
            _ => "normal",
        };
        let minutes = 5 + random.below(4 * 60) as u64;
        let starts_in = (random.below(12) == 0).then(|| Duration::from_secs(minutes * 60));
        let is_cancelled = random.below(3) == 0 && starts_in.is_some();
        let order = json!({
            "lineItems": lines, "currency": "EUR", "customer": format!("{first}.{last}@example.com"),
            "externalReference": reference, "priority": priority,
        });
        ShopOrder { order, reference, starts_in, is_cancelled }
    }
}

/// SplitMix64: a sequence that is the same on every machine and in every version.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// As [`Self::below`], with small numbers more often.
    fn below_squared(&mut self, limit: usize) -> usize {
        self.below(limit).min(self.below(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_about_the_orders() {
        let orders = |seed| {
            let mut shop = Shop::new(seed);
            std::iter::repeat_with(|| shop.order()).take(500).collect::<Vec<_>>()
        };
        let all = orders(7);
        assert_eq!(all, orders(7));
        assert_ne!(all, orders(8));
        assert_eq!((&*all[0].reference, &*all[499].reference), ("WEB-1001", "WEB-1500"));
        let scheduled = all.iter().filter(|order| order.starts_in.is_some()).count();
        let cancelled = all.iter().filter(|order| order.is_cancelled).count();
        assert!((20..80).contains(&scheduled) && (3..40).contains(&cancelled), "{scheduled} {cancelled}");
        assert!(all.iter().all(|order| order.starts_in.is_some() || !order.is_cancelled));
        assert!(all.iter().all(|order| order.order["lineItems"][0]["price"].is_string()));
    }
}
