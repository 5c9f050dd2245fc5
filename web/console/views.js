// The views of the console: their names, keys and the scope that each needs.

import * as access from './access.js';
import * as dead from './dead.js';
import * as events from './events.js';
import * as hooks from './hooks_view.js';
import * as orders from './orders_view.js';
import * as overview from './overview.js';
import * as queue from './queue.js';
import * as system from './system.js';
import * as workers from './workers.js';

const view = (path, name, icon, key, scope, module, View) => ({ path, name, icon, key, scope, View, enter: module.enter, leave: module.leave, keys: module.keys ?? {}, drawn: module.drawn ?? (() => {}) });

/** In the order of the navigation. The path of the first one is that of the console. */
export const VIEWS = [
  view('overview', 'Overview', 'overview', 'h', 'orders:read', overview, overview.OverviewView),
  view('orders', 'Orders', 'orders', 'o', 'orders:read', orders, orders.OrdersView),
  view('dead-letters', 'Dead letters', 'dead', 'd', 'orders:read', dead, dead.DeadView),
  view('workers', 'Workers', 'workers', 'w', 'metrics:read', workers, workers.WorkersView),
  view('queue', 'Queue', 'queue', 'q', 'orders:read', queue, queue.QueueView),
  view('events', 'Events', 'events', 'e', 'orders:read', events, events.EventsView),
  view('webhooks', 'Webhooks', 'webhooks', 'b', 'webhooks:manage', hooks, hooks.HooksView),
  view('access', 'Access', 'access', 'k', 'keys:manage', access, access.AccessView),
  view('system', 'System', 'system', 's', 'metrics:read', system, system.SystemView),
];

/** The path of a view below the console. */
export const pathOf = ({ path }) => (path === 'overview' ? '' : path);
