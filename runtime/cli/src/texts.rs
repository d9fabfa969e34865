//! Real text of an exact number of tokens, for timing.

use anyhow::{Result, bail};
use attar::Model;

/// Self-written prose; its tokens are as long and as varied as those of a manual.
const PROSE: &str = "\
The board takes its power from a supply of five volts, and a weak supply is the most common cause of trouble. When the \
voltage falls below a limit the firmware slows the processor down, and a small mark appears in the corner of the screen. \
A cable that is long and thin loses much of what the supply gives, so a short one with thick wires helps more than another \
supply. Memory cards wear out with every write: keep the log files in memory where you can, and make a copy of the card \
each month. The kernel reports temperatures in thousandths of a degree, which surprises everybody once. Above eighty \
degrees the clock is lowered step by step until the heat is under control; a metal case without a fan is enough for most \
tasks. Do not connect a motor to the pins directly, since a pin gives sixteen milliamperes at most and a motor takes a \
hundred times as many. The network name and its password are asked for at the first start, and can be changed later in a \
menu. If the green light blinks four times in a row, the starting program was not found on the card. Two drives on one \
port may need a hub with its own supply. Cameras are plugged in with the silver contacts towards the board, never while \
it is running. A timer starts the backup at three in the morning, writes what it did into a file, and sends a message \
only when something went wrong, because nobody reads messages that come every day.";

/// The question of every pair.
const QUESTION: &str = "What happens when the supply is too weak?";

/// `[CLS] a [SEP] b [SEP]` has these besides its texts.
const SPECIAL_TOKENS: usize = 3;

/// A question and a passage that together have exactly `tokens` tokens, special ones included.
pub(crate) fn pair_of(model: &Model, tokens: usize) -> Result<(String, String)> {
    let most = model.info().max_tokens;
    if tokens > most {
        bail!("--lengths {tokens}: this model reads at most {most} tokens at once");
    }
    let Some(room) = tokens.checked_sub(SPECIAL_TOKENS).filter(|&room| room >= 2) else {
        bail!("--lengths {tokens}: a pair has at least {} tokens, 3 of them special", SPECIAL_TOKENS + 2);
    };
    // A question of its own length where that leaves most of the room to the passage.
    let question = text_of(model, QUESTION, room.div_ceil(3).min(model.count_tokens(QUESTION)))?;
    let passage = text_of(model, PROSE, room - model.count_tokens(&question))?;
    Ok((question, passage))
}

/// The beginning of `source`, repeated as needed, that has exactly `tokens` tokens.
fn text_of(model: &Model, source: &str, tokens: usize) -> Result<String> {
    let (mut text, mut have) = (String::new(), 0);
    for word in source.split_whitespace().cycle() {
        let more = model.count_tokens(word).max(1);
        if have + more > tokens {
            break;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
        have += more;
    }
    for _ in have..tokens {
        // A full stop is one token in every BERT vocabulary.
        text.push_str(" .");
    }
    let found = model.count_tokens(&text);
    if found != tokens {
        bail!("the benchmark's text has {found} tokens instead of {tokens}: is the vocabulary a BERT one?");
    }
    Ok(text)
}
