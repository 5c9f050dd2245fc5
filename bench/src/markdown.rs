//! Tables in Markdown.

/// Returns the first two lines of a table: the headings and the line below them.
pub(crate) fn table_head<H: AsRef<str>>(headings: impl IntoIterator<Item = H>) -> String {
    let (mut head, mut line) = ("|".to_owned(), "|".to_owned());
    for heading in headings {
        head.push_str(&format!(" {} |", heading.as_ref()));
        line.push_str("---|");
    }
    format!("{head}\n{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_head_has_a_line_below_each_heading() {
        assert_eq!(table_head(["clients", "accepted/s"]), "| clients | accepted/s |\n|---|---|\n");
    }
}
