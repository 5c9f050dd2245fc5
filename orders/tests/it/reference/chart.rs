//! The chart of the README, `docs/images/speed-*.svg`, and the figures of its text, from the tables of `BENCHMARKS.md`.

use std::fmt::Write as _;

use super::{compare_file, grouped};

const BENCHMARKS: &str = include_str!("../../../../BENCHMARKS.md");
const README: &str = include_str!("../../../../README.md");

/// The systems from the fastest to the slowest, with what they consist of.
const SYSTEMS: [(&str, &str); 3] =
    [("orders", "MariaDB, Redis"), ("Fastify", "BullMQ, GraphQL Yoga"), ("Express", "Sequelize, Redis list")];

/// The width of the longest bar.
const LONGEST: f64 = 600.0;

struct Colours {
    name: &'static str,
    ground: &'static str,
    text: &'static str,
    muted: &'static str,
    accepted: &'static str,
    completed: &'static str,
}

const COLOURS: [Colours; 2] = [
    Colours {
        name: "light",
        ground: "#ffffff",
        text: "#1f2328",
        muted: "#59636e",
        accepted: "#4f46e5",
        completed: "#1a7f37",
    },
    Colours {
        name: "dark",
        ground: "#0d1117",
        text: "#f0f6fc",
        muted: "#9198a1",
        accepted: "#a5b4fc",
        completed: "#3fb950",
    },
];

#[test]
fn the_reference_chart_shows_the_benchmarks() {
    let rates = SYSTEMS.map(|(system, _)| at_64_clients("compare", system));
    for colours in &COLOURS {
        compare_file(&format!("docs/images/speed-{}.svg", colours.name), &chart(colours, &rates));
    }
}

#[test]
fn the_readme_has_the_figures_of_the_benchmarks() {
    let mut figures = SYSTEMS.map(|(system, _)| at_64_clients("compare", system)).to_vec();
    figures.push(at_64_clients("defaults", "orders"));
    for (accepted, completed) in figures {
        for figure in [grouped(accepted), grouped(completed)] {
            assert!(README.contains(&figure), "README.md does not contain {figure} of BENCHMARKS.md");
        }
    }
}

/// The orders per second that a system accepts and completes, from the table with this mark.
fn at_64_clients(table: &str, system: &str) -> (u64, u64) {
    let start = format!("<!-- begin {table} -->");
    let (_, rows) = BENCHMARKS.split_once(&start).expect("BENCHMARKS.md has the table");
    let row =
        rows.lines().find(|line| line.starts_with(&format!("| {system} | 64 |"))).expect("it has the system");
    let cells: Vec<_> = row.split(" | ").collect();
    let number = |cell: &str| cell.parse().expect("the cell is a number");
    (number(cells[2]), number(cells[5]))
}

fn chart(colours: &Colours, rates: &[(u64, u64); 3]) -> String {
    let Colours { ground, text, muted, accepted, completed, .. } = colours;
    let parts = SYSTEMS.iter().zip(rates).map(|((system, _), (accepted, completed))| {
        format!("{system} {} and {}", grouped(*accepted), grouped(*completed))
    });
    let description = parts.collect::<Vec<_>>().join(", ");
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 262" role="img" aria-labelledby="title desc" font-family="-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif">
<title id="title">Orders accepted and completed per second</title>
<desc id="desc">At 64 clients: {description}.</desc>
<rect width="860" height="262" rx="12" fill="{ground}"/>
<text x="24" y="32" font-size="15" font-weight="600" fill="{text}">Orders per second, 64 clients, MariaDB, two cores</text>
<rect x="600" y="20" width="14" height="14" rx="3" fill="{accepted}"/>
<text x="620" y="32" font-size="12.5" fill="{muted}">accepted (201)</text>
<rect x="728" y="20" width="14" height="14" rx="3" fill="{completed}"/>
<text x="748" y="32" font-size="12.5" fill="{muted}">completed</text>
"#
    );
    let most = rates.iter().map(|(accepted, completed)| *accepted.max(completed)).max().unwrap_or(1);
    for (n, ((system, parts), rates)) in SYSTEMS.iter().zip(rates).enumerate() {
        let top = 58 + 68 * n;
        let _ = write!(
            svg,
            r#"<text x="150" y="{}" font-size="14.5" font-weight="600" fill="{text}" text-anchor="end">{system}</text>
<text x="150" y="{}" font-size="11.5" fill="{muted}" text-anchor="end">{parts}</text>
"#,
            top + 20,
            top + 37
        );
        for (y, rate, colour) in [(top, rates.0, accepted), (top + 24, rates.1, completed)] {
            #[expect(clippy::cast_precision_loss, reason = "a width in pixels")]
            let width = LONGEST * rate as f64 / most as f64;
            let _ = write!(
                svg,
                r#"<rect x="166" y="{y}" width="{width:.1}" height="20" rx="4" fill="{colour}"/>
<text x="{:.1}" y="{}" font-size="13" fill="{text}">{}</text>
"#,
                174.0 + width,
                y + 15,
                grouped(rate)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}
