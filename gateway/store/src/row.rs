//! A row of either database, and the values of its columns.
//!
//! A value must have the type that is requested. SQLite stores any type in any column, so a number in place of a string
//! is a defect of that row and is not converted.

use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlRow, MySqlTypeInfo, MySqlValueRef};
use sqlx::sqlite::{SqliteRow, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Column, Database, Decode, MySql, Row as _, Sqlite, Type, TypeInfo, ValueRef};

use super::Error;

/// A row of a result.
pub(super) enum Row {
    MySql(MySqlRow),
    Sqlite(SqliteRow),
}

impl Row {
    /// Reads the value of a column.
    ///
    /// # Errors
    /// [`Error::Row`] with the column's name, when the value has another type.
    pub(super) fn get<'r, T: FromColumn<'r>>(&'r self, column: usize) -> Result<T, Error> {
        let read = match self {
            Self::MySql(row) => T::from_mysql(row.try_get_raw(column).map_err(Error::Defect)?),
            Self::Sqlite(row) => T::from_sqlite(row.try_get_raw(column).map_err(Error::Defect)?),
        };
        read.map_err(|error| Error::Row(format!("{}: {error}", self.name(column))))
    }

    /// Returns the name of a column.
    pub(super) fn name(&self, column: usize) -> &str {
        match self {
            Self::MySql(row) => row.columns().get(column).map_or("", |column| column.name()),
            Self::Sqlite(row) => row.columns().get(column).map_or("", |column| column.name()),
        }
    }
}

/// A type that the value of a column can have.
pub(super) trait FromColumn<'r>: Sized {
    /// Reads a value of MySQL or MariaDB.
    fn from_mysql(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError>;

    /// Reads a value of SQLite.
    fn from_sqlite(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError>;
}

/// Decodes a value if its type is accepted.
fn decode<'r, DB: Database, T: Decode<'r, DB>>(
    value: DB::ValueRef<'r>,
    expected: &str,
    accepts: impl FnOnce(&DB::TypeInfo) -> bool,
) -> Result<T, BoxDynError> {
    if value.is_null() {
        return Err(format!("expected {expected}, found NULL").into());
    }
    let found = value.type_info();
    if !accepts(&found) {
        return Err(format!("expected {expected}, found {}", found.name()).into());
    }
    drop(found);
    T::decode(value)
}

impl<'r> FromColumn<'r> for i64 {
    fn from_mysql(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
        if <u64 as Type<MySql>>::compatible(&value.type_info()) {
            let number: u64 = decode::<MySql, _>(value, "a number", |_| true)?;
            return Ok(number.try_into()?);
        }
        decode::<MySql, _>(value, "a number", <i64 as Type<MySql>>::compatible)
    }

    fn from_sqlite(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        decode::<Sqlite, _>(value, "a number", <i64 as Type<Sqlite>>::compatible)
    }
}

impl<'r> FromColumn<'r> for &'r str {
    fn from_mysql(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
        decode::<MySql, _>(value, "text", <str as Type<MySql>>::compatible)
    }

    fn from_sqlite(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        decode::<Sqlite, _>(value, "text", <str as Type<Sqlite>>::compatible)
    }
}

/// The drivers would also read text as bytes.
impl<'r> FromColumn<'r> for &'r [u8] {
    fn from_mysql(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
        let is_bytes = |found: &MySqlTypeInfo| {
            <[u8] as Type<MySql>>::compatible(found) && !<str as Type<MySql>>::compatible(found)
        };
        decode::<MySql, _>(value, "bytes", is_bytes)
    }

    fn from_sqlite(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let is_bytes = |found: &SqliteTypeInfo| {
            <[u8] as Type<Sqlite>>::compatible(found) && !<str as Type<Sqlite>>::compatible(found)
        };
        decode::<Sqlite, _>(value, "bytes", is_bytes)
    }
}

impl<'r> FromColumn<'r> for String {
    fn from_mysql(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
        <&str>::from_mysql(value).map(str::to_owned)
    }

    fn from_sqlite(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <&str>::from_sqlite(value).map(str::to_owned)
    }
}

impl<'r> FromColumn<'r> for Vec<u8> {
    fn from_mysql(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
        <&[u8]>::from_mysql(value).map(<[u8]>::to_vec)
    }

    fn from_sqlite(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <&[u8]>::from_sqlite(value).map(<[u8]>::to_vec)
    }
}

impl<'r, T: FromColumn<'r>> FromColumn<'r> for Option<T> {
    fn from_mysql(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() { Ok(None) } else { T::from_mysql(value).map(Some) }
    }

    fn from_sqlite(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() { Ok(None) } else { T::from_sqlite(value).map(Some) }
    }
}
