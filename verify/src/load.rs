//! Clients that race: each issues a token, has two keys claim it at once, from two nodes if there
//! are two, and asks again where an answer was lost, as a frame does.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cardveil_core::card::Environment;
use cardveil_core::token::{Thumbprint, Unchecked};
use cardveil_seal::hpke::holder::Holder;
use serde_json::{Value, json};

use crate::answer;
use crate::clock::Clock;
use crate::history::{Asked, Outcome, Story};
use crate::http::{Answer, Connection};
use crate::system::{CARDS, System, card_no, card_number};

/// How often a client asks again for what it got no answer to, and how long it waits in between.
const TRIES_MAX: usize = 200;
const PAUSE: Duration = Duration::from_millis(20);
/// How long answers are waited for before it is said that there are too few.
const ANSWERS_WAIT_MAX_MS: u64 = 120_000;
/// Of how many tokens one is kept, and how many, to be asked for once more when others have been: a
/// restore may lie in between.
const LATE_EVERY: usize = 3;
const LATE: usize = 16;
/// How often a request comes twice.
const DOUBLED_EVERY: usize = 7;

/// What all clients share.
pub(crate) struct Load {
    nodes: Vec<(SocketAddr, SocketAddr)>,
    authorization: String,
    embed: String,
    keys: [Value; 2],
    openers: [Holder; 2],
    /// The keys' thumbprints, as the log names them.
    pub(crate) holders: [String; 2],
    pub(crate) clock: Clock,
    pub(crate) stop: AtomicBool,
    /// Requests to redeem that were answered.
    pub(crate) answered: AtomicUsize,
    /// Requests to redeem that were told that nothing can be released now.
    pub(crate) unavailable: AtomicUsize,
    /// Requests that came to nothing and are in no story: for a token, or such as could not be
    /// sent.
    pub(crate) nothing: AtomicUsize,
    pub(crate) stories: Mutex<Vec<Story>>,
}

impl Load {
    /// On all nodes of a system.
    pub(crate) fn of(system: &System) -> anyhow::Result<Self> {
        let nodes = system.nodes.iter();
        let nodes = nodes.map(|node| (node.at.merchant, node.at.client));
        Self::through(system, nodes.collect())
    }

    /// On a system by way of these places, which are a merchant listener and a client listener
    /// each.
    pub(crate) fn through(
        system: &System,
        nodes: Vec<(SocketAddr, SocketAddr)>,
    ) -> anyhow::Result<Self> {
        let openers = [Holder::generate()?, Holder::generate()?];
        let jwk = |holder: &Holder| {
            let key = holder.key();
            let [x, y] = [key.x(), key.y()].map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes));
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
        };
        Ok(Self {
            nodes,
            authorization: format!("authorization: Bearer {}\r\n", system.api_key),
            embed: system.embed.clone(),
            keys: openers.each_ref().map(jwk),
            holders: openers
                .each_ref()
                .map(|holder| Thumbprint(holder.key().thumbprint()).to_string()),
            openers,
            clock: Clock::start(),
            stop: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
            unavailable: AtomicUsize::new(0),
            nothing: AtomicUsize::new(0),
            stories: Mutex::new(Vec::new()),
        })
    }

    /// Waits until so many more requests were answered.
    pub(crate) fn serve_on(&self, answers: usize) -> anyhow::Result<()> {
        let until = self.answered.load(Ordering::Relaxed) + answers;
        let clock = Clock::start();
        while self.answered.load(Ordering::Relaxed) < until {
            anyhow::ensure!(
                clock.millis() < ANSWERS_WAIT_MAX_MS,
                "too few requests are answered"
            );
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Waits until a request was told that nothing can be released now, but not for long.
    pub(crate) fn be_unavailable(&self, most_ms: u64) {
        let before = self.unavailable.load(Ordering::Relaxed);
        let clock = Clock::start();
        while self.unavailable.load(Ordering::Relaxed) == before && clock.millis() < most_ms {
            std::thread::sleep(PAUSE);
        }
    }

    /// A token of a card by each node that answers, for [`Load::redeem`].
    pub(crate) fn issue_for(&self, card: usize) -> Vec<(String, Story)> {
        let of = |node: usize| self.client(node).issue(node, card);
        (0..self.nodes.len()).filter_map(of).collect()
    }

    /// Asks for each at each node.
    pub(crate) fn redeem(&self, tokens: &mut [(String, Story)], key: usize) {
        for (token, story) in tokens {
            for node in 0..self.nodes.len() {
                self.client(node).ask(node, token, key, story);
            }
        }
    }

    /// Nothing more is asked for these.
    pub(crate) fn keep_tokens(&self, tokens: Vec<(String, Story)>) {
        self.keep(tokens.into_iter().map(|(_, story)| story));
    }

    fn keep(&self, stories: impl IntoIterator<Item = Story>) {
        let mut all = self.stories.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(stories);
    }

    fn client(&self, turn: usize) -> Client<'_> {
        Client {
            load: self,
            merchants: self.nodes.iter().map(|_| None).collect(),
            cardholders: self.nodes.iter().map(|_| None).collect(),
            turn,
        }
    }

    /// One client, until it is stopped.
    pub(crate) fn run(&self, client: usize) {
        let mut client = self.client(client);
        let mut stories = Vec::new();
        let mut late: VecDeque<(String, Story)> = VecDeque::new();
        while !self.stop.load(Ordering::Relaxed) {
            client.turn = client.turn.wrapping_add(1);
            if late.len() > LATE {
                stories.extend(
                    late.pop_front()
                        .map(|(token, story)| client.steal(&token, story)),
                );
            }
            let (node, card) = (client.turn % self.nodes.len(), client.turn % CARDS);
            if let Some((token, story)) = client.issue(node, card) {
                let story = client.race(&token, story);
                if client.turn.is_multiple_of(LATE_EVERY) {
                    late.push_back((token, story));
                } else {
                    stories.push(story);
                }
            } else {
                self.nothing.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
        }
        stories.extend(late.into_iter().map(|(_, story)| story));
        self.keep(stories);
    }
}

struct Client<'a> {
    load: &'a Load,
    merchants: Vec<Option<Connection>>,
    cardholders: Vec<Option<Connection>>,
    turn: usize,
}

impl Client<'_> {
    fn issue(&mut self, node: usize, card: usize) -> Option<(String, Story)> {
        let body = json!({ "card_no": card_no(card) });
        let slot = self.merchants.get_mut(node)?;
        let (at, _) = *self.load.nodes.get(node)?;
        let issued = self.load.clock.millis();
        let answer = exchange(
            slot,
            at,
            "/v1/client-tokens",
            &self.load.authorization,
            &body,
        )?;
        let token = answer
            .body
            .pointer("/token")
            .and_then(Value::as_str)
            .filter(|_| answer.status == 201)?;
        let hash = Unchecked::parse(token, Environment::Sandbox)
            .ok()?
            .key()
            .hash
            .to_string();
        let story = Story {
            hash,
            card,
            issued,
            there: self.load.clock.millis(),
            asked: Vec::new(),
        };
        Some((token.to_owned(), story))
    }

    /// Both keys at once; then whoever has no answer, until there is one; now and then, the winner
    /// again.
    fn race(&mut self, token: &str, mut story: Story) -> Story {
        let nodes = self.load.nodes.len();
        // Now and then what lies between has doubled a request: the same key twice, at once.
        let other = usize::from(!self.turn.is_multiple_of(DOUBLED_EVERY));
        let keys = [self.turn % 2, (self.turn + other) % 2];
        let places = [self.turn % nodes, (self.turn / 2) % nodes];
        // Two connections to one node, if there is but one.
        let mut second = None;
        let sent = self.load.clock.millis();
        let first = self.send(places[0], token, keys[0]);
        let raced = self.load.nodes.get(places[1]).and_then(|(_, at)| {
            let connection = second.insert(Connection::open(*at)?);
            connection.send("POST", REDEEM, "", &self.body(token, keys[1]))
        });
        let answers = [
            first.and_then(|()| self.receive(places[0])),
            raced.and_then(|()| second.as_mut()?.receive()),
        ];
        for (key, answer) in keys.into_iter().zip(answers) {
            self.note(&mut story, key, sent, answer.as_ref());
        }
        for key in keys {
            self.insist(token, key, &mut story);
        }
        if self.turn.is_multiple_of(4) {
            let key = story
                .asked
                .iter()
                .find(|asked| asked.outcome == Outcome::Granted);
            if let Some(key) = key.map(|asked| usize::from(asked.key)) {
                self.ask((self.turn / 4) % nodes, token, key, &mut story);
            }
        }
        story
    }

    /// Whoever did not get it comes again, late.
    fn steal(&mut self, token: &str, mut story: Story) -> Story {
        let granted = |asked: &&Asked| asked.outcome == Outcome::Granted;
        let key = story
            .asked
            .iter()
            .find(granted)
            .map_or(1, |asked| asked.key);
        let place = self.turn % self.load.nodes.len();
        self.ask(place, token, usize::from(1 - key), &mut story);
        story
    }

    /// As a frame does: the same again, while there is no answer.
    fn insist(&mut self, token: &str, key: usize, story: &mut Story) {
        for tried in 0..TRIES_MAX {
            let mine = || {
                story
                    .asked
                    .iter()
                    .filter(|asked| usize::from(asked.key) == key)
            };
            // What was lost counts too: a key is refused for asking too often.
            let lost = mine()
                .filter(|asked| asked.outcome == Outcome::Unknown)
                .count();
            let latest = mine().next_back().map(|asked| asked.outcome);
            if latest.is_some_and(Outcome::is_answer) || lost > 2 {
                return;
            }
            std::thread::sleep(PAUSE);
            let place = (self.turn + tried) % self.load.nodes.len();
            self.ask(place, token, key, story);
        }
    }

    fn ask(&mut self, place: usize, token: &str, key: usize, story: &mut Story) {
        let sent = self.load.clock.millis();
        // What did not even get there was not asked.
        if self.send(place, token, key).is_some() {
            let answer = self.receive(place);
            self.note(story, key, sent, answer.as_ref());
        } else {
            self.load.nothing.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note(&self, story: &mut Story, key: usize, sent: u64, answer: Option<&Answer>) {
        let outcome = match answer.map(|answer| (answer.status, &answer.body)) {
            Some((200, body)) if self.is_right(story, key, body) => Outcome::Granted,
            Some((200, _)) => Outcome::Misgiven,
            Some((403, _)) => Outcome::Refused,
            Some((503, _)) => Outcome::Unavailable,
            Some(_) | None => Outcome::Unknown,
        };
        if outcome.is_answer() {
            self.load.answered.fetch_add(1, Ordering::Relaxed);
        }
        if outcome == Outcome::Unavailable {
            self.load.unavailable.fetch_add(1, Ordering::Relaxed);
        }
        story.asked.push(Asked {
            key: u8::try_from(key).unwrap_or_default(),
            sent,
            came: self.load.clock.millis(),
            outcome,
        });
    }

    fn is_right(&self, story: &Story, key: usize, body: &Value) -> bool {
        let opener = self.load.openers.get(key);
        opener.is_some_and(|opener| answer::is_number(body, opener, card_number(story.card)))
    }

    fn body(&self, token: &str, key: usize) -> Value {
        json!({
            "token": token, "embed": self.load.embed, "key": self.load.keys.get(key), "fields": ["pan"],
            "attempt": "00000000-0000-4000-8000-000000000001",
        })
    }

    fn send(&mut self, place: usize, token: &str, key: usize) -> Option<()> {
        let body = self.body(token, key);
        let (_, at) = *self.load.nodes.get(place)?;
        let slot = self.cardholders.get_mut(place)?;
        if slot.is_none() {
            *slot = Connection::open(at);
        }
        let sent = slot.as_mut()?.send("POST", REDEEM, "", &body);
        if sent.is_none() {
            *slot = None;
        }
        sent
    }

    fn receive(&mut self, place: usize) -> Option<Answer> {
        let slot = self.cardholders.get_mut(place)?;
        let answer = slot.as_mut().and_then(Connection::receive);
        if answer.as_ref().is_none_or(|answer| answer.is_last) {
            *slot = None;
        }
        answer
    }
}

const REDEEM: &str = "/client/v1/redeem";

fn exchange(
    slot: &mut Option<Connection>,
    at: SocketAddr,
    path: &str,
    authorization: &str,
    body: &Value,
) -> Option<Answer> {
    if slot.is_none() {
        *slot = Connection::open(at);
    }
    let connection = slot.as_mut()?;
    let sent = connection.send("POST", path, authorization, body);
    let answer = sent.and_then(|()| connection.receive());
    if answer.as_ref().is_none_or(|answer| answer.is_last) {
        *slot = None;
    }
    answer
}
