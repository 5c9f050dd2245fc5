//! The notes of orders.
//!
//! A note is no event: it takes no sequence, and a reader of events does not see it. Its number is given while the row of
//! its order is locked.

use domain::{MAX_NOTES, Note, NoteContent, OrderId, Principal};

use super::connection::Connection;
use super::owner::Owner;
use super::statement::Statement;
use super::{Error, Shard, rows};

/// The outcome of a new note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoteOutcome {
    /// It is stored.
    Added(Note),
    /// The order has [`MAX_NOTES`] notes.
    LimitReached,
    /// The caller sees no such order.
    NotFound,
}

impl Shard {
    /// Stores a note of an order in any status.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_note(
        &self,
        principal: &Principal,
        id: OrderId,
        content: &NoteContent,
        author: &str,
    ) -> Result<NoteOutcome, Error> {
        let (now, for_update) = (self.now(), self.inner.dialect.for_update());
        let owner = Owner::visible_to(principal);
        self.write(|connection| {
            let (owner, content, author) = (owner.clone(), content.clone(), author.to_owned());
            Box::pin(async move {
                if !is_there(connection, id, &owner, for_update).await? {
                    return Ok(NoteOutcome::NotFound);
                }
                let mut sql = Statement::new("SELECT MAX(number) FROM order_notes WHERE order_id = ?");
                sql.bind(id);
                let found = sql.fetch(connection).await?;
                let last = found.first().map_or(Ok(None), |row| rows::optional_number::<u32>(row, 0))?;
                let number = last.unwrap_or(0).saturating_add(1);
                if number > MAX_NOTES {
                    return Ok(NoteOutcome::LimitReached);
                }
                let mut sql = Statement::new(
                    "INSERT INTO order_notes (order_id, number, body, milestone, is_public, author, created_at) VALUES ",
                );
                sql.rows(1, "(?,?,?,?,?,?,?)")
                    .bind(id)
                    .bind(i64::from(number))
                    .bind(content.text.clone())
                    .bind(content.milestone.clone())
                    .bind(i64::from(content.is_public))
                    .bind(author.clone())
                    .bind(now.as_micros());
                sql.execute(connection).await?;
                Ok(NoteOutcome::Added(Note { order_id: id, number, content, author, created_at: now }))
            })
        })
        .await
    }

    /// Returns the notes of an order, oldest first; `None` if the caller sees no such order.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn notes(&self, principal: &Principal, id: OrderId) -> Result<Option<Vec<Note>>, Error> {
        let owner = Owner::visible_to(principal);
        self.read(move |connection| {
            Box::pin(async move {
                if !is_there(connection, id, &owner, "").await? {
                    return Ok(None);
                }
                let mut sql = Statement::new(
                    "SELECT number, body, milestone, is_public, author, created_at FROM order_notes \
                     WHERE order_id = ? ORDER BY number LIMIT ?",
                );
                sql.bind(id).bind(i64::from(MAX_NOTES));
                let found = sql.fetch(connection).await?;
                let note = |row| {
                    Ok(Note {
                        order_id: id,
                        number: rows::number(row, 0)?,
                        content: NoteContent {
                            text: row.get(1)?,
                            milestone: row.get(2)?,
                            is_public: rows::number::<u8>(row, 3)? > 0,
                        },
                        author: row.get(4)?,
                        created_at: rows::time(row, 5)?,
                    })
                };
                found.iter().map(note).collect::<Result<_, Error>>().map(Some)
            })
        })
        .await
    }
}

async fn is_there(
    connection: &mut Connection,
    id: OrderId,
    owner: &Owner,
    lock: &str,
) -> Result<bool, Error> {
    let mut sql = Statement::new("SELECT id FROM orders WHERE id = ?");
    sql.bind(id);
    owner.push(&mut sql);
    sql.push(lock);
    Ok(!sql.fetch(connection).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use domain::{MAX_MILESTONE, MAX_NOTE};

    use super::*;

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "notes of an order; length of a note; of a milestone",
            &format!("{MAX_NOTES}; {} characters; {MAX_MILESTONE} characters", limits_page::count(MAX_NOTE)),
        );
    }
}
