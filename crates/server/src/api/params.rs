//! What several APIs ask for in the same form, or under the same name.

use cardveil_core::card::{Field, Fields, Reason};
use cardveil_core::mfa::{Factor, Purpose};

use super::extract::Query;
use super::problem::Problem;

/// What a field's name must be.
pub(crate) const FIELD_NAMES: &str = "must be of pan, expiry, cvv, name";

/// At least one field, each once.
pub(crate) fn fields(names: &[String]) -> Result<Fields, Problem> {
    let mut fields = Fields::NONE;
    for name in names {
        let field = Field::parse(name).ok_or_else(|| Problem::invalid("fields", FIELD_NAMES))?;
        if !fields.insert(field) {
            return Err(Problem::invalid("fields", "each may be given once"));
        }
    }
    if fields.is_empty() {
        return Err(Problem::invalid("fields", "give at least one"));
    }
    Ok(fields)
}

/// An empty reason counts as left out.
pub(crate) fn parse_reason(text: Option<&str>) -> Result<Option<Reason>, Problem> {
    text.filter(|text| !text.is_empty())
        .map(Reason::parse)
        .transpose()
        .map_err(|wrong| Problem::invalid("reason", wrong))
}

/// What a session is for; `VIEW_CARD` when it is left out.
pub(crate) fn purpose(place: &str, name: Option<&str>) -> Result<Purpose, Problem> {
    let Some(name) = name else {
        return Ok(Purpose::ViewCard);
    };
    Purpose::parse(name).ok_or_else(|| {
        Problem::invalid(
            place,
            "must be VIEW_CARD, ADD_CARD_TO_WALLET, VIEW_PIN or SET_PIN",
        )
    })
}

/// By what a session is passed; the strongest that the person has when it is left out.
pub(crate) fn factor(name: Option<&str>) -> Result<Option<Factor>, Problem> {
    let parsed = name.map(|name| Factor::parse(name).ok_or(()));
    let wrong = |()| Problem::invalid("factor", "must be TOTP or OTP");
    parsed.transpose().map_err(wrong)
}

/// Values between commas.
pub(crate) fn list<T>(
    query: &Query,
    name: &str,
    what: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, Problem> {
    let Some(text) = query.one(name)? else {
        return Ok(None);
    };
    let values: Option<Vec<T>> = text.split(',').map(|value| parse(value.trim())).collect();
    values.map(Some).ok_or_else(|| Problem::invalid(name, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_name_every_field() {
        let names = Fields::ALL.names().join(", ");
        assert_eq!(FIELD_NAMES, format!("must be of {names}"));
    }
}
