use crate::money::{self, Money};

/// The maximum quantity of one line item.
pub const MAX_QUANTITY: u32 = 1_000_000;
/// The maximum number of line items of one order.
pub const MAX_LINE_ITEMS: usize = 200;

/// A line item of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineItem {
    /// The name of the product: 1 to 200 characters.
    pub item: String,
    /// The number of units: 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// The price of one unit.
    pub price: Money,
}

impl LineItem {
    /// Returns the quantity times the price.
    ///
    /// # Errors
    /// [`money::Error::TooLarge`].
    pub fn total(&self) -> Result<Money, money::Error> {
        self.price.times(self.quantity)
    }
}
