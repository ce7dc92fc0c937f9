-- Budgets of reveals, of cards (`c` and the card's id) and of people (`p`, the person's id, the
-- merchant's): when each is whole again. What is not here is whole.
CREATE TABLE budget (
    key      BLOB    PRIMARY KEY,
    whole_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX budget_whole ON budget (whole_at);
