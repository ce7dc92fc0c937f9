//! The verbs of the registry: the operators' changes, a credential's own, and when credentials were
//! used.

use std::collections::BTreeMap;

use super::Verb;
use super::keys::{refuse_retired, refuse_retired_versions};
use crate::audit::Event;
use crate::card::Card;
use crate::clock::Time;
use crate::hook::SUBSCRIPTIONS_MAX;
use crate::id::{CredentialId, MerchantId};
use crate::merchant::Credential;
use crate::merchant::allowlist::{AllowlistChange, AllowlistChanged};
use crate::port::rows::{Loaded, Rows};
use crate::port::{Change, Class, Needs, Set, Taken};

/// Makes the changes, each with its event; tells of each whether it was refused. A refused one
/// writes nothing, not even its event, and does not stop the others. A [`Set`] is decided over the
/// row as it then is, whoever else writes: [`Set::decide`].
#[derive(Clone, Debug)]
pub struct Changes(pub Vec<(Change, Event)>);

type Made = Result<(), Taken>;

impl Verb for Changes {
    type Answer = Vec<Made>;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Vec<Made>> {
        refuse_retired(rows, self.0.iter().flat_map(|(change, _)| change.deks()))?;
        let indexes = self.0.iter().filter_map(|(change, _)| change.index_key());
        refuse_retired_versions(rows, indexes.map(|version| (Class::Index, version)))?;
        let mut all = Vec::new();
        let are_cards = |one: &(Change, Event), next: &(Change, Event)| {
            matches!((&one.0, &next.0), (Change::AddCard(_), Change::AddCard(_)))
        };
        // An import is cards alone.
        for run in self.0.chunk_by(are_cards) {
            let made = match run {
                [(change, _)] => vec![make(rows, change)?],
                cards => add_cards(rows, cards.iter().filter_map(|(change, _)| card(change)))?,
            };
            for ((change, event), made) in run.iter().zip(&made) {
                if made.is_ok() {
                    rows.log(&change.record(event))?;
                }
            }
            all.extend(made);
        }
        Ok(all)
    }
}

fn card(change: &Change) -> Option<&Card> {
    if let Change::AddCard(card) = change {
        Some(card)
    } else {
        None
    }
}

fn make(rows: &dyn Rows, change: &Change) -> Loaded<Made> {
    if let Some(merchant) = merchant_of(change)
        && rows.merchant(merchant)?.is_none()
    {
        return Ok(Err(Taken::NoMerchant));
    }
    let added = match change {
        Change::AddMerchant(new) => rows.add_merchant(new)?,
        Change::AddCredential(new) => rows.add_credential(new)?,
        Change::AddEmbed(new) => rows.add_embed(new)?,
        Change::AddCard(new) => rows.add_cards(&[&**new])? == [true],
        Change::AddSubscription(new) => {
            if rows.subscription(new.id)?.is_none()
                && rows.subscriptions_of(&new.merchant)? >= SUBSCRIPTIONS_MAX
            {
                return Ok(Err(Taken::Full));
            }
            rows.add_subscription(new)?
        }
        Change::SetMerchant(set) => {
            let row = rows.merchant(&set.to.id)?;
            return set_row(set, row.as_ref(), |to| rows.save_merchant(to));
        }
        Change::SetCredential(set) => return set_credential(rows, set),
        Change::SetEmbed(set) => {
            let row = rows.embed(&set.to.id)?;
            return set_row(set, row.as_ref(), |to| rows.save_embed(to));
        }
        Change::RemoveSubscription(id) => {
            let removed = rows.delete_subscription(*id)?;
            return Ok(removed.then_some(()).ok_or(Taken::NoMerchant));
        }
    };
    Ok(added.then_some(()).ok_or(Taken::Exists))
}

/// The merchant that must be there. A store guards it too; asking first tells what is missing
/// without failing the commit.
const fn merchant_of(change: &Change) -> Option<&MerchantId> {
    match change {
        Change::AddMerchant(_) | Change::SetMerchant(_) | Change::RemoveSubscription(_) => None,
        Change::AddCredential(new) => Some(&new.merchant),
        Change::SetCredential(set) => Some(&set.to.merchant),
        Change::AddEmbed(new) => Some(&new.merchant),
        Change::SetEmbed(set) => Some(&set.to.merchant),
        Change::AddCard(new) => Some(&new.merchant),
        Change::AddSubscription(new) => Some(&new.merchant),
    }
}

fn set_row<T: PartialEq>(
    set: &Set<T>,
    row: Option<&T>,
    save: impl FnOnce(&T) -> Loaded<()>,
) -> Loaded<Made> {
    match set.decide(row) {
        Ok(to) => save(to).map(Ok),
        Err(taken) => Ok(Err(taken)),
    }
}

/// No other credential has its key.
fn set_credential(rows: &dyn Rows, set: &Set<Credential>) -> Loaded<Made> {
    let row = rows.credential(&set.to.id)?;
    if let Ok(to) = set.decide(row.as_ref())
        && rows.key_is_of_another(&to.key_hash, &to.id)?
    {
        return Ok(Err(Taken::Exists));
    }
    set_row(set, row.as_ref(), |to| rows.save_credential(to))
}

/// In their order, so that of two that exclude each other the first is added.
fn add_cards<'a>(rows: &dyn Rows, cards: impl Iterator<Item = &'a Card>) -> Loaded<Vec<Made>> {
    let cards: Vec<_> = cards.collect();
    let mut merchants = BTreeMap::new();
    for card in &cards {
        if !merchants.contains_key(&card.merchant) {
            let known = rows.merchant(&card.merchant)?.is_some();
            merchants.insert(&card.merchant, known);
        }
    }
    let is_of_one = |card: &&Card| merchants.get(&card.merchant) == Some(&true);
    let of_known: Vec<_> = cards.iter().copied().filter(is_of_one).collect();
    let mut added = rows.add_cards(&of_known)?.into_iter();
    let made = cards.iter().map(|card| match is_of_one(card) {
        false => Err(Taken::NoMerchant),
        true if added.next() == Some(true) => Ok(()),
        true => Err(Taken::Exists),
    });
    Ok(made.collect())
}

/// Applies [`AllowlistChange::decide`].
impl Verb for AllowlistChange {
    type Answer = AllowlistChanged;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<AllowlistChanged> {
        let decided = self.decide(rows.credential(&self.credential)?.as_ref());
        if let Some((next, event)) = &decided.write {
            rows.save_allowlist(next)?;
            rows.log(event)?;
        }
        Ok(decided.verdict)
    }
}

/// Keeps when credentials were last used, in the place of what was kept of them. It writes no
/// event: what a credential did is on record.
#[derive(Clone, Debug)]
pub struct NoteUses(pub BTreeMap<CredentialId, Time>);

impl Verb for NoteUses {
    type Answer = ();

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<()> {
        rows.save_uses(&self.0)
    }
}
