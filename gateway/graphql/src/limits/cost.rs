//! The cost of a document, which the limits compare.

/// The cost of a part of a document.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    /// Number of fields, spreads and inline fragments, with fragments expanded.
    pub(super) selections: usize,
    pub(super) aliases: usize,
    pub(super) directives: usize,
    pub(super) complexity: usize,
    /// Whether it reads the database for each order.
    pub(super) reads: bool,
    /// Number of fields at the top of this part.
    pub(super) fields: usize,
    /// Nesting of fields, without introspection.
    pub(super) depth: usize,
    /// Nesting of selection sets, with fragments.
    pub(super) nesting: usize,
    /// Nesting of introspection lists.
    pub(super) lists: usize,
    /// Number of orders that it reads or writes.
    pub(super) orders: usize,
    /// Bytes of variables, counted once per use.
    pub(super) variables: usize,
}

impl Cost {
    /// Returns the cost of two parts that follow each other.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            selections: self.selections.saturating_add(other.selections),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            complexity: self.complexity.saturating_add(other.complexity),
            reads: self.reads || other.reads,
            fields: self.fields.saturating_add(other.fields),
            depth: self.depth.max(other.depth),
            nesting: self.nesting.max(other.nesting),
            lists: self.lists.max(other.lists),
            orders: self.orders.saturating_add(other.orders),
            variables: self.variables.saturating_add(other.variables),
        }
    }

    /// Returns the cost of a fragment at its spread.
    pub(super) fn inside_fragment(self, directives: Self) -> Self {
        let inside = self.plus(directives);
        Self { selections: inside.selections.saturating_add(1), ..inside }
    }
}
