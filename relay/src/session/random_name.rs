//! Names for tunnels that ask for none, such as `brisk-otter-41`.

use adit_protocol::Name;
use rand::{Rng, seq::IndexedRandom};

const ADJECTIVES: &[&str] = &[
    "amber", "ample", "apt", "avid", "bold", "brave", "brief", "bright", "brisk", "broad", "calm", "candid",
    "chief", "civil", "clean", "clear", "clever", "cosy", "crisp", "deft", "eager", "early", "easy", "exact",
    "fair", "fleet", "fond", "frank", "free", "fresh", "full", "glad", "grand", "great", "green", "happy",
    "hardy", "honest", "humble", "ideal", "jolly", "keen", "kind", "large", "light", "lively", "loyal",
    "lucid", "lucky", "merry", "mild", "modest", "neat", "noble", "novel", "open", "plain", "prime",
    "prompt", "proud", "pure", "quick", "quiet", "rapid", "ready", "sharp", "silent", "simple", "sleek",
    "smart", "smooth", "snug", "solid", "sound", "spry", "stable", "steady", "still", "stout", "sunny",
    "swift", "tidy", "true", "vivid", "warm", "wide", "wise", "witty", "young", "zesty",
];

const ANIMALS: &[&str] = &[
    "badger", "bat", "bear", "beaver", "bee", "bison", "boar", "camel", "cat", "crane", "crow", "deer",
    "dog", "dove", "duck", "eagle", "eel", "elk", "falcon", "ferret", "finch", "fox", "frog", "gecko",
    "goat", "goose", "gull", "hare", "hawk", "hen", "heron", "horse", "ibex", "jay", "koala", "lark",
    "lemur", "lion", "lizard", "llama", "lynx", "magpie", "marten", "mink", "mole", "moose", "mouse", "newt",
    "ocelot", "orca", "otter", "owl", "ox", "panda", "parrot", "pigeon", "pike", "pony", "puffin", "quail",
    "rabbit", "ram", "raven", "robin", "salmon", "seal", "shrew", "sloth", "snail", "sparrow", "stoat",
    "stork", "swan", "tapir", "tern", "tiger", "toad", "trout", "turtle", "viper", "vole", "walrus", "wasp",
    "weasel", "whale", "wolf", "wren", "yak", "zebra",
];

/// A name that is easy to say. There are some 8 million of them: whoever guesses finds little.
pub(super) fn random_name(random: &mut impl Rng) -> Name {
    let adjective = ADJECTIVES.choose(random).expect("the list is not empty");
    let animal = ANIMALS.choose(random).expect("the list is not empty");
    let number: u16 = random.random_range(2..1000);
    format!("{adjective}-{animal}-{number}").parse().expect("each word is a plain label")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_words_is_a_name() {
        for adjective in ADJECTIVES {
            for animal in ANIMALS {
                format!("{adjective}-{animal}-999").parse::<Name>().unwrap();
            }
        }
        random_name(&mut rand::rng());
    }
}
