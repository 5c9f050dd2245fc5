// Populate the sidebar
//
// This is a script, and not included directly in the page, to control the total size of the book.
// The TOC contains an entry for each page, so if each page includes a copy of the TOC,
// the total size of the page becomes O(n**2).
class MDBookSidebarScrollbox extends HTMLElement {
    constructor() {
        super();
    }
    connectedCallback() {
        this.innerHTML = '<ol class="chapter"><li class="chapter-item "><span class="chapter-link-wrapper"><a href="index.html">Overview</a></span></li><li class="chapter-item "><li class="part-title">Start</li></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="start/install.html">Install</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="start/tutorial.html">The first order in five minutes</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="start/compose.html">Docker Compose</a></span></li><li class="chapter-item "><li class="part-title">Concepts</li></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="concepts/lifecycle.html">Life of an order</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="concepts/attempts.html">Attempts and leases</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="concepts/events.html">Events and sequences</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="concepts/idempotency.html">Idempotency</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="concepts/scheduling.html">Priorities and scheduling</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="concepts/guarantees.html">Delivery guarantees</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="concepts/glossary.html">Glossary</a></span></li><li class="chapter-item "><li class="part-title">Guides</li></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/create.html">Create orders</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/lists.html">Lists and cursors</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/watch.html">Watch orders live</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/event-log.html">Read every event</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/webhooks.html">Tell your shop what happened: webhooks</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/subscriber-rust.html">Write a subscriber in Rust</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/email.html">Send e-mail for events</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/rest.html">Use the REST API</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/graphql.html">Use the GraphQL API</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/handler-rust.html">Write a handler in Rust</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/handler-webhook.html">Process orders by webhook</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/worker-python.html">Your worker in ten minutes: Python</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/worker-typescript.html">Your worker in ten minutes: TypeScript</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/worker-go.html">Your worker in ten minutes: Go</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/handler-other.html">Write a worker in another language</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/results.html">Results, checkpoints and progress</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/kinds.html">Route orders to workers by kind</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/dead-letters.html">Dead letters</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/pausing.html">Pause processing</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="guides/retention.html">Remove old orders</a></span></li><li class="chapter-item "><li class="part-title">Reference</li></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="reference/cli.html">Commands</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="reference/settings.html">Settings</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="reference/rest.html">REST API</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="reference/graphql.html">GraphQL API</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="reference/grpc.html">gRPC API</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="reference/errors.html">Error codes</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="reference/limits.html">Limits</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="reference/metrics.html">Metrics</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="graphql-audits.html">GraphQL over HTTP audits</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="graphql-differences.html">GraphQL differences</a></span></li><li class="chapter-item "><li class="part-title">Operate</li></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/deploy.html">Deploy</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/kubernetes.html">Kubernetes</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/expose.html">Expose a gateway in five minutes</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/access.html">Access control</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/command-line.html">The command line</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/contexts.html">Contexts of commands</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/tls.html">TLS</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/databases.html">Databases and Redis</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/console.html">The console</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/monitor.html">Monitor and alert</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/traces.html">Traces</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/runbooks.html">Runbooks</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/capacity.html">Capacity</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/upgrade.html">Upgrade</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="upgrading/0.x.html">Upgrade to 0.x</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/compatibility.html">Compatibility</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/support.html">Support</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="releases/0.1.0.html">Release 0.1.0</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/backup.html">Backup and restore</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/doctor.html">Doctor and repair</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="operate/troubleshooting.html">Troubleshooting by symptom</a></span></li><li class="chapter-item "><li class="part-title">Internals</li></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/architecture.html">Architecture</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/storage.html">Storage layout</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/failures.html">What happens when a part fails</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/clock.html">Clock steps</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="faults.html">Faults</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/index.html">Decisions</a><a class="chapter-fold-toggle"><div>❱</div></a></span><ol class="section"><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0001-worker-draws-lease-token.html">1. The worker draws the lease token</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0002-lock-decide-write.html">2. Lock rows, decide in Rust, then write</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0003-not-before-beside-due-at.html">3. not_before is a separate column from due_at</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0004-one-body-of-sql.html">4. One body of SQL over sqlx&#39;s Any driver</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0005-token-stays-after-report.html">5. The lease token stays on the row after a report</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0006-no-queue-per-subscriber.html">6. No queue for each subscriber</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0007-update-status-is-literal.html">7. UpdateStatus takes the statuses literally</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0008-async-graphql-version.html">8. async-graphql 7.0.19, pinned</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0009-custom-graphql-transport.html">9. A custom GraphQL handler and websocket loop</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0010-complexity-limit.html">10. The complexity limit is 3,000</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0011-repeatable-migration-steps.html">11. Migrations consist of repeatable steps</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0012-one-token-per-pull.html">12. The workers of one pull share a token</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0013-idempotency-key-stores-order-id.html">13. An idempotency key stores the order&#39;s id and no response</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0014-clock-tolerance.html">14. Clocks agree within 250 ms</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0015-no-index-for-unfiltered-lists.html">15. No index for a list without a filter</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0016-priorities-share-the-queue.html">16. Priorities share the queue six to three to one</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0017-pause-is-a-row.html">17. A pause is a row in the database</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0018-ids-of-a-bulk.html">18. The ids of a bulk create follow from the first one</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0019-redrive-spreads-start-times.html">19. A redrive of many orders spreads their not_before</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0020-bounded-counts.html">20. Orders are counted up to a limit, once for all requests</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0021-tracking-page-asks-for-little.html">21. The tracking page requests only what it shows</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0022-connections-per-address.html">22. One address gets a tenth of the connections, and idle connections give way</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0023-replaced-hyper-errors.html">23. The gateway replaces hyper&#39;s error responses</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0024-slow-clients-at-the-socket.html">24. Slow clients are detected where their bytes wait</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0025-apollo-compiler-validates.html">25. apollo-compiler parses and validates, async-graphql executes</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0026-origin-checks.html">26. Origin checks compare the host, then Sec-Fetch-Site</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0027-keyset-pagination.html">27. A page begins at a key</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0028-search-in-rust.html">28. Filters without an index are evaluated in Rust</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0029-loaders-for-the-gateway.html">29. Loaders belong to the gateway, not to a request</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0030-retention-by-stage.html">30. Retention reads orders_by_stage</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0031-direct-enqueue.html">31. New orders go straight to the queue while no order waits</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0032-calls-of-other-workers-share-work.html">32. Unary calls of workers share work</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0033-prefetch.html">33. A processor prefetches short orders</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0034-held-orders-touch-no-index.html">34. A held order changes no index</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0035-binary-events.html">35. Events travel in a binary, authenticated form</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0036-no-extra-round-trips.html">36. A transaction sends its statements and COMMIT</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0037-no-huge-pages.html">37. No huge pages</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0038-events-in-the-row.html">38. An order&#39;s row contains its first and its two latest events</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0039-tcp-nodelay.html">39. TCP_NODELAY on every TCP socket</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0040-grpc-over-the-http-server.html">40. The HTTP server serves gRPC</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0041-bytes-in-flight.html">41. One counter of bytes in flight for each direction</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0042-bulk-creates-share-memory.html">42. Bulk creates share the memory of one of the longest</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0043-readiness-from-real-work.html">43. Readiness follows the results of real work</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0044-parked-orders-are-held.html">44. A parked order is held, and due_at counts how often</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0045-row-defects-by-error-code.html">45. A list of error codes defines the defects of a row</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0046-one-enum-of-error-codes.html">46. Error codes are one enum in domain</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0047-help-is-documentation.html">47. The help of a setting is its documentation</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0048-typed-pools.html">48. One body of SQL over sqlx&#39;s typed pools</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0049-fair-share-without-a-table.html">49. Tenants take turns, and the indexes state who waits</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0050-event-log-numbered-after-commit.html">50. The event log is numbered after the commit</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0051-webhooks-are-readers-of-the-log.html">51. Webhook endpoints are readers of the event log</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0052-mark-before-sending.html">52. E-mail is marked before it is sent</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0053-each-gateway-counts-its-commits.html">53. Each gateway counts what it commits</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0054-one-trace-for-each-order.html">54. One trace for each order</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0055-gateways-assign-jobs.html">55. Gateways assign jobs to workers</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0056-last-statements-with-commit.html">56. The last statements of a transaction are sent with COMMIT</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0057-sdks-are-written-by-hand.html">57. The SDKs are written by hand, and one script checks them</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0058-unique-references-in-a-side-table.html">58. References are unique in a side table, and only for tenants that want it</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0059-results-and-checkpoints.html">59. Results and checkpoints are in a separate table</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0060-codes-without-a-column.html">60. The code of an order follows from its id and is not unique</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0061-kinds-have-separate-queues.html">61. Kinds have separate queues</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0062-one-write-at-a-time.html">62. One large batch is written at a time, and batches begin apart</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0063-own-routing-to-redis-servers.html">63. The program finds the server of a key in Redis</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/decisions/0064-one-connection-per-shard.html">64. A connection leads to one shard of Vitess</a></span></li></ol><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/benchmarks.html">Benchmarks</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="internals/bench.html">Method of the benchmarks</a></span></li><li class="chapter-item "><li class="part-title">Contribute</li></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="contribute/contributing.html">Contributing</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="contribute/names.html">Names</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="contribute/soak.html">Soak test</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="contribute/releases.html">Releases</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="contribute/security.html">Security</a></span></li><li class="chapter-item "><span class="chapter-link-wrapper"><a href="contribute/changelog.html">Changelog</a></span></li></ol>';
        // Set the current, active page, and reveal it if it's hidden
        let current_page = document.location.href.toString().split('#')[0].split('?')[0];
        if (current_page.endsWith('/')) {
            current_page += 'index.html';
        }
        const links = Array.prototype.slice.call(this.querySelectorAll('a'));
        const l = links.length;
        for (let i = 0; i < l; ++i) {
            const link = links[i];
            const href = link.getAttribute('href');
            if (href && !href.startsWith('#') && !/^(?:[a-z+]+:)?\/\//.test(href)) {
                link.href = path_to_root + href;
            }
            // The 'index' page is supposed to alias the first chapter in the book.
            // Check both with and without the '.html' suffix to be robust against pretty URLs
            if (link.href.replace(/\.html$/, '') === current_page.replace(/\.html$/, '')
                || i === 0
                && path_to_root === ''
                && current_page.endsWith('/index.html')) {
                link.classList.add('active');
                let parent = link.parentElement;
                while (parent) {
                    if (parent.tagName === 'LI' && parent.classList.contains('chapter-item')) {
                        parent.classList.add('expanded');
                    }
                    parent = parent.parentElement;
                }
            }
        }
        // Track and set sidebar scroll position
        this.addEventListener('click', e => {
            if (e.target.tagName === 'A') {
                const clientRect = e.target.getBoundingClientRect();
                const sidebarRect = this.getBoundingClientRect();
                sessionStorage.setItem('sidebar-scroll-offset', clientRect.top - sidebarRect.top);
            }
        }, { passive: true });
        const sidebarScrollOffset = sessionStorage.getItem('sidebar-scroll-offset');
        sessionStorage.removeItem('sidebar-scroll-offset');
        if (sidebarScrollOffset !== null) {
            // preserve sidebar scroll position when navigating via links within sidebar
            const activeSection = this.querySelector('.active');
            if (activeSection) {
                const clientRect = activeSection.getBoundingClientRect();
                const sidebarRect = this.getBoundingClientRect();
                const currentOffset = clientRect.top - sidebarRect.top;
                this.scrollTop += currentOffset - parseFloat(sidebarScrollOffset);
            }
        } else {
            // scroll sidebar to current active section when navigating via
            // 'next/previous chapter' buttons
            const activeSection = document.querySelector('#mdbook-sidebar .active');
            if (activeSection) {
                activeSection.scrollIntoView({ block: 'center' });
            }
        }
        // Toggle buttons
        const sidebarAnchorToggles = document.querySelectorAll('.chapter-fold-toggle');
        function toggleSection(ev) {
            ev.currentTarget.parentElement.parentElement.classList.toggle('expanded');
        }
        Array.from(sidebarAnchorToggles).forEach(el => {
            el.addEventListener('click', toggleSection);
        });
    }
}
window.customElements.define('mdbook-sidebar-scrollbox', MDBookSidebarScrollbox);


// ---------------------------------------------------------------------------
// Support for dynamically adding headers to the sidebar.

(function() {
    // This is used to detect which direction the page has scrolled since the
    // last scroll event.
    let lastKnownScrollPosition = 0;
    // This is the threshold in px from the top of the screen where it will
    // consider a header the "current" header when scrolling down.
    const defaultDownThreshold = 150;
    // Same as defaultDownThreshold, except when scrolling up.
    const defaultUpThreshold = 300;
    // The threshold is a virtual horizontal line on the screen where it
    // considers the "current" header to be above the line. The threshold is
    // modified dynamically to handle headers that are near the bottom of the
    // screen, and to slightly offset the behavior when scrolling up vs down.
    let threshold = defaultDownThreshold;
    // This is used to disable updates while scrolling. This is needed when
    // clicking the header in the sidebar, which triggers a scroll event. It
    // is somewhat finicky to detect when the scroll has finished, so this
    // uses a relatively dumb system of disabling scroll updates for a short
    // time after the click.
    let disableScroll = false;
    // Array of header elements on the page.
    let headers;
    // Array of li elements that are initially collapsed headers in the sidebar.
    // I'm not sure why eslint seems to have a false positive here.
    // eslint-disable-next-line prefer-const
    let headerToggles = [];
    // This is a debugging tool for the threshold which you can enable in the console.
    let thresholdDebug = false;

    // Updates the threshold based on the scroll position.
    function updateThreshold() {
        const scrollTop = window.pageYOffset || document.documentElement.scrollTop;
        const windowHeight = window.innerHeight;
        const documentHeight = document.documentElement.scrollHeight;

        // The number of pixels below the viewport, at most documentHeight.
        // This is used to push the threshold down to the bottom of the page
        // as the user scrolls towards the bottom.
        const pixelsBelow = Math.max(0, documentHeight - (scrollTop + windowHeight));
        // The number of pixels above the viewport, at least defaultDownThreshold.
        // Similar to pixelsBelow, this is used to push the threshold back towards
        // the top when reaching the top of the page.
        const pixelsAbove = Math.max(0, defaultDownThreshold - scrollTop);
        // How much the threshold should be offset once it gets close to the
        // bottom of the page.
        const bottomAdd = Math.max(0, windowHeight - pixelsBelow - defaultDownThreshold);
        let adjustedBottomAdd = bottomAdd;

        // Adjusts bottomAdd for a small document. The calculation above
        // assumes the document is at least twice the windowheight in size. If
        // it is less than that, then bottomAdd needs to be shrunk
        // proportional to the difference in size.
        if (documentHeight < windowHeight * 2) {
            const maxPixelsBelow = documentHeight - windowHeight;
            const t = 1 - pixelsBelow / Math.max(1, maxPixelsBelow);
            const clamp = Math.max(0, Math.min(1, t));
            adjustedBottomAdd *= clamp;
        }

        let scrollingDown = true;
        if (scrollTop < lastKnownScrollPosition) {
            scrollingDown = false;
        }

        if (scrollingDown) {
            // When scrolling down, move the threshold up towards the default
            // downwards threshold position. If near the bottom of the page,
            // adjustedBottomAdd will offset the threshold towards the bottom
            // of the page.
            const amountScrolledDown = scrollTop - lastKnownScrollPosition;
            const adjustedDefault = defaultDownThreshold + adjustedBottomAdd;
            threshold = Math.max(adjustedDefault, threshold - amountScrolledDown);
        } else {
            // When scrolling up, move the threshold down towards the default
            // upwards threshold position. If near the bottom of the page,
            // quickly transition the threshold back up where it normally
            // belongs.
            const amountScrolledUp = lastKnownScrollPosition - scrollTop;
            const adjustedDefault = defaultUpThreshold - pixelsAbove
                + Math.max(0, adjustedBottomAdd - defaultDownThreshold);
            threshold = Math.min(adjustedDefault, threshold + amountScrolledUp);
        }

        if (documentHeight <= windowHeight) {
            threshold = 0;
        }

        if (thresholdDebug) {
            const id = 'mdbook-threshold-debug-data';
            let data = document.getElementById(id);
            if (data === null) {
                data = document.createElement('div');
                data.id = id;
                data.style.cssText = `
                    position: fixed;
                    top: 50px;
                    right: 10px;
                    background-color: 0xeeeeee;
                    z-index: 9999;
                    pointer-events: none;
                `;
                document.body.appendChild(data);
            }
            data.innerHTML = `
                <table>
                  <tr><td>documentHeight</td><td>${documentHeight.toFixed(1)}</td></tr>
                  <tr><td>windowHeight</td><td>${windowHeight.toFixed(1)}</td></tr>
                  <tr><td>scrollTop</td><td>${scrollTop.toFixed(1)}</td></tr>
                  <tr><td>pixelsAbove</td><td>${pixelsAbove.toFixed(1)}</td></tr>
                  <tr><td>pixelsBelow</td><td>${pixelsBelow.toFixed(1)}</td></tr>
                  <tr><td>bottomAdd</td><td>${bottomAdd.toFixed(1)}</td></tr>
                  <tr><td>adjustedBottomAdd</td><td>${adjustedBottomAdd.toFixed(1)}</td></tr>
                  <tr><td>scrollingDown</td><td>${scrollingDown}</td></tr>
                  <tr><td>threshold</td><td>${threshold.toFixed(1)}</td></tr>
                </table>
            `;
            drawDebugLine();
        }

        lastKnownScrollPosition = scrollTop;
    }

    function drawDebugLine() {
        if (!document.body) {
            return;
        }
        const id = 'mdbook-threshold-debug-line';
        const existingLine = document.getElementById(id);
        if (existingLine) {
            existingLine.remove();
        }
        const line = document.createElement('div');
        line.id = id;
        line.style.cssText = `
            position: fixed;
            top: ${threshold}px;
            left: 0;
            width: 100vw;
            height: 2px;
            background-color: red;
            z-index: 9999;
            pointer-events: none;
        `;
        document.body.appendChild(line);
    }

    function mdbookEnableThresholdDebug() {
        thresholdDebug = true;
        updateThreshold();
        drawDebugLine();
    }

    window.mdbookEnableThresholdDebug = mdbookEnableThresholdDebug;

    // Updates which headers in the sidebar should be expanded. If the current
    // header is inside a collapsed group, then it, and all its parents should
    // be expanded.
    function updateHeaderExpanded(currentA) {
        // Add expanded to all header-item li ancestors.
        let current = currentA.parentElement;
        while (current) {
            if (current.tagName === 'LI' && current.classList.contains('header-item')) {
                current.classList.add('expanded');
            }
            current = current.parentElement;
        }
    }

    // Updates which header is marked as the "current" header in the sidebar.
    // This is done with a virtual Y threshold, where headers at or below
    // that line will be considered the current one.
    function updateCurrentHeader() {
        if (!headers || !headers.length) {
            return;
        }

        // Reset the classes, which will be rebuilt below.
        const els = document.getElementsByClassName('current-header');
        for (const el of els) {
            el.classList.remove('current-header');
        }
        for (const toggle of headerToggles) {
            toggle.classList.remove('expanded');
        }

        // Find the last header that is above the threshold.
        let lastHeader = null;
        for (const header of headers) {
            const rect = header.getBoundingClientRect();
            if (rect.top <= threshold) {
                lastHeader = header;
            } else {
                break;
            }
        }
        if (lastHeader === null) {
            lastHeader = headers[0];
            const rect = lastHeader.getBoundingClientRect();
            const windowHeight = window.innerHeight;
            if (rect.top >= windowHeight) {
                return;
            }
        }

        // Get the anchor in the summary.
        const href = '#' + lastHeader.id;
        const a = [...document.querySelectorAll('.header-in-summary')]
            .find(element => element.getAttribute('href') === href);
        if (!a) {
            return;
        }

        a.classList.add('current-header');

        updateHeaderExpanded(a);
    }

    // Updates which header is "current" based on the threshold line.
    function reloadCurrentHeader() {
        if (disableScroll) {
            return;
        }
        updateThreshold();
        updateCurrentHeader();
    }


    // When clicking on a header in the sidebar, this adjusts the threshold so
    // that it is located next to the header. This is so that header becomes
    // "current".
    function headerThresholdClick(event) {
        // See disableScroll description why this is done.
        disableScroll = true;
        setTimeout(() => {
            disableScroll = false;
        }, 100);
        // requestAnimationFrame is used to delay the update of the "current"
        // header until after the scroll is done, and the header is in the new
        // position.
        requestAnimationFrame(() => {
            requestAnimationFrame(() => {
                // Closest is needed because if it has child elements like <code>.
                const a = event.target.closest('a');
                const href = a.getAttribute('href');
                const targetId = href.substring(1);
                const targetElement = document.getElementById(targetId);
                if (targetElement) {
                    threshold = targetElement.getBoundingClientRect().bottom;
                    updateCurrentHeader();
                }
            });
        });
    }

    // Takes the nodes from the given head and copies them over to the
    // destination, along with some filtering.
    function filterHeader(source, dest) {
        const clone = source.cloneNode(true);
        clone.querySelectorAll('mark').forEach(mark => {
            mark.replaceWith(...mark.childNodes);
        });
        dest.append(...clone.childNodes);
    }

    // Scans page for headers and adds them to the sidebar.
    document.addEventListener('DOMContentLoaded', function() {
        const activeSection = document.querySelector('#mdbook-sidebar .active');
        if (activeSection === null) {
            return;
        }

        const main = document.getElementsByTagName('main')[0];
        headers = Array.from(main.querySelectorAll('h2, h3, h4, h5, h6'))
            .filter(h => h.id !== '' && h.children.length && h.children[0].tagName === 'A');

        if (headers.length === 0) {
            return;
        }

        // Build a tree of headers in the sidebar.

        const stack = [];

        const firstLevel = parseInt(headers[0].tagName.charAt(1));
        for (let i = 1; i < firstLevel; i++) {
            const ol = document.createElement('ol');
            ol.classList.add('section');
            if (stack.length > 0) {
                stack[stack.length - 1].ol.appendChild(ol);
            }
            stack.push({level: i + 1, ol: ol});
        }

        // The level where it will start folding deeply nested headers.
        const foldLevel = 3;

        for (let i = 0; i < headers.length; i++) {
            const header = headers[i];
            const level = parseInt(header.tagName.charAt(1));

            const currentLevel = stack[stack.length - 1].level;
            if (level > currentLevel) {
                // Begin nesting to this level.
                for (let nextLevel = currentLevel + 1; nextLevel <= level; nextLevel++) {
                    const ol = document.createElement('ol');
                    ol.classList.add('section');
                    const last = stack[stack.length - 1];
                    const lastChild = last.ol.lastChild;
                    // Handle the case where jumping more than one nesting
                    // level, which doesn't have a list item to place this new
                    // list inside of.
                    if (lastChild) {
                        lastChild.appendChild(ol);
                    } else {
                        last.ol.appendChild(ol);
                    }
                    stack.push({level: nextLevel, ol: ol});
                }
            } else if (level < currentLevel) {
                while (stack.length > 1 && stack[stack.length - 1].level > level) {
                    stack.pop();
                }
            }

            const li = document.createElement('li');
            li.classList.add('header-item');
            li.classList.add('expanded');
            if (level < foldLevel) {
                li.classList.add('expanded');
            }
            const span = document.createElement('span');
            span.classList.add('chapter-link-wrapper');
            const a = document.createElement('a');
            span.appendChild(a);
            a.href = '#' + header.id;
            a.classList.add('header-in-summary');
            filterHeader(header.children[0], a);
            a.addEventListener('click', headerThresholdClick);
            const nextHeader = headers[i + 1];
            if (nextHeader !== undefined) {
                const nextLevel = parseInt(nextHeader.tagName.charAt(1));
                if (nextLevel > level && level >= foldLevel) {
                    const toggle = document.createElement('a');
                    toggle.classList.add('chapter-fold-toggle');
                    toggle.classList.add('header-toggle');
                    toggle.addEventListener('click', () => {
                        li.classList.toggle('expanded');
                    });
                    const toggleDiv = document.createElement('div');
                    toggleDiv.textContent = '❱';
                    toggle.appendChild(toggleDiv);
                    span.appendChild(toggle);
                    headerToggles.push(li);
                }
            }
            li.appendChild(span);

            const currentParent = stack[stack.length - 1];
            currentParent.ol.appendChild(li);
        }

        const onThisPage = document.createElement('div');
        onThisPage.classList.add('on-this-page');
        onThisPage.append(stack[0].ol);
        const activeItemSpan = activeSection.parentElement;
        activeItemSpan.after(onThisPage);
    });

    document.addEventListener('DOMContentLoaded', reloadCurrentHeader);
    document.addEventListener('scroll', reloadCurrentHeader, { passive: true });
})();

