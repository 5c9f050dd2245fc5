use crate::{Money, money};

/// Most units of one line item.
pub const MAX_QUANTITY: u32 = 1_000_000;
/// Most line items of one order.
pub const MAX_LINE_ITEMS: usize = 200;

/// Line item of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineItem {
    /// What was bought: 1 to 200 characters.
    pub item: String,
    /// How many: 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// The price of one unit.
    pub price: Money,
}

impl LineItem {
    /// Quantity times price.
    ///
    /// # Errors
    /// [`money::Error::TooLarge`].
    pub fn total(&self) -> Result<Money, money::Error> {
        self.price.times(self.quantity)
    }
}
