//! What the guard counts.

/// What a part of a document costs.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    /// Fields, spreads and inline fragments, expanded.
    pub(super) selections: usize,
    pub(super) aliases: usize,
    pub(super) directives: usize,
    pub(super) complexity: usize,
    /// Whether something is read from the database for each order.
    pub(super) reads: bool,
    /// Fields at the top of this part.
    pub(super) fields: usize,
    /// Fields inside each other, introspection not counted.
    pub(super) depth: usize,
    /// Selection sets inside each other, fragments counted.
    pub(super) nesting: usize,
    /// Lists of introspection inside each other.
    pub(super) lists: usize,
    /// Orders that are read or written.
    pub(super) orders: usize,
    /// Bytes of variables, each as often as it is used.
    pub(super) variables: usize,
}

impl Cost {
    /// The cost of both parts, one after the other.
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

    /// The cost of a fragment where it is used.
    pub(super) fn inside_fragment(self, directives: Self) -> Self {
        let inside = self.plus(directives);
        Self { selections: inside.selections.saturating_add(1), ..inside }
    }
}
