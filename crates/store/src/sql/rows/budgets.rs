//! Budgets.

use cardveil_core::budget::Level;

use crate::sql::table::Table;
use crate::sql::value::Row;

/// How far a budget is used, by the budget's key.
pub(crate) const BUDGET: Table<(Vec<u8>, Level)> = Table {
    name: "budget",
    deciding: None,
    key: 1,
    fixed: 1,
    columns: &[
        ("key", |(key, _)| key.into()),
        ("whole_at", |(_, it)| it.whole_at.into()),
        ("charged_at", |(_, it)| it.charged_at.into()),
    ],
};

pub(crate) fn budget<R: Row>(row: &R) -> Result<(Vec<u8>, Level), R::Fault> {
    let level = Level {
        whole_at: row.get(1)?,
        charged_at: row.get(2)?,
    };
    Ok((row.get(0)?, level))
}
