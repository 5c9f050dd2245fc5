// What the tabs of both GraphQL tools start with: name, document, variables.

globalThis.EXAMPLES = [
  ['List', `# The newest orders. Press Ctrl-Enter to run.
query NewestOrders {
  orders(first: 10) {
    edges {
      node {
        id
        status
        total
        currency
        lineItems { item quantity price }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`],
  ['Create', `# Creates an order.
mutation CreateOrder {
  createOrder(input: { item: "Laptop", quantity: 2, price: "1299.99" }) {
    order { id status total currency }
    userErrors { code message field }
  }
}
`],
  ['Watch', `# Every change of every order, from now on.
# Create orders in another tab to see them here.
subscription Changes {
  orderEvents {
    ... on OrderStatusEvent {
      orderId
      sequence
      status
      attempt
      reason
      occurredAt
    }
    ... on OrderFeedLag { missed }
  }
}
`],
  ['Timeline', `# One order, from its beginning to its end.
# Put the id of an order into the variables.
subscription Timeline($id: ID!) {
  orderStatus(orderId: $id, after: 0) {
    sequence
    previousStatus
    status
    attempt
    reason
    occurredAt
  }
}
`, '{ "id": "" }'],
];
