//! The terminal while the view is on it, and given back on every way out.
//!
//! Not in raw mode: Ctrl-C stays a signal, and what a killed demo leaves behind is a hidden cursor, not a dead terminal.

use std::io::{Stdout, Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{cursor, execute, queue, terminal};

use crate::lifecycle;

static ON: AtomicBool = AtomicBool::new(false);
/// The last warning; shown by the view while it is on.
static WARNING: Mutex<Option<String>> = Mutex::new(None);

/// How a piece of text is drawn.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ink {
    Plain,
    Bold,
    Faint,
    Good,
    Bad,
    Notice,
}

/// A line: pieces of text, each in its ink.
pub(super) type Line = Vec<(Ink, String)>;

/// The screen, until it is dropped.
pub(super) struct Screen {
    out: Stdout,
    colours: bool,
}

impl Screen {
    /// Takes the terminal's other screen. A panic anywhere gives it back before its message is printed, and
    /// so does a second signal.
    pub(super) fn open() -> std::io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            lifecycle::before_abort(close);
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                close();
                before(panic);
            }));
        });
        ON.store(true, Ordering::SeqCst);
        let screen = Self { out: stdout(), colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) };
        execute!(stdout(), EnterAlternateScreen, cursor::Hide, DisableLineWrap, Clear(ClearType::All))?;
        Ok(screen)
    }

    /// Columns and rows.
    pub(super) fn size() -> (usize, usize) {
        match terminal::size() {
            Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
            _ => (80, 24),
        }
    }

    /// Draws all lines over what was there. Nothing after a panic elsewhere, which has closed the screen.
    pub(super) fn draw(&mut self, lines: &[Line]) -> std::io::Result<()> {
        if !ON.load(Ordering::SeqCst) {
            return Ok(());
        }
        let (columns, rows) = Self::size();
        queue!(self.out, BeginSynchronizedUpdate)?;
        for (row, line) in (0u16..).zip(lines.iter().take(rows)) {
            queue!(self.out, cursor::MoveTo(0, row))?;
            let mut room = columns;
            for (ink, text) in line {
                let text: String = text.chars().take(room).collect();
                room -= text.chars().count();
                self.put(*ink, text)?;
            }
            if room > 0 {
                queue!(self.out, Clear(ClearType::UntilNewLine))?;
            }
        }
        queue!(self.out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        self.out.flush()
    }

    fn put(&mut self, ink: Ink, text: String) -> std::io::Result<()> {
        let colour = match ink {
            Ink::Good => Some(Color::Green),
            Ink::Bad => Some(Color::Red),
            Ink::Notice => Some(Color::Yellow),
            _ => None,
        };
        if let Some(colour) = colour.filter(|_| self.colours) {
            queue!(self.out, SetForegroundColor(colour), Print(text), ResetColor)
        } else if ink == Ink::Plain {
            queue!(self.out, Print(text))
        } else {
            let attribute = if ink == Ink::Faint { Attribute::Dim } else { Attribute::Bold };
            queue!(self.out, SetAttribute(attribute), Print(text), SetAttribute(Attribute::Reset))
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        close();
        if let Some(warning) = warning() {
            eprintln!("{warning}");
        }
    }
}

/// Gives the terminal back; once.
fn close() {
    if ON.swap(false, Ordering::SeqCst) {
        // If the terminal is gone there is nothing to give back.
        let _ = execute!(stdout(), EnableLineWrap, cursor::Show, LeaveAlternateScreen);
    }
}

/// The last warning there was while the view was on.
pub(super) fn warning() -> Option<String> {
    WARNING.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Where warnings go: into the view while it is on, else to standard error.
pub(super) fn warnings() -> Warnings {
    Warnings
}

/// See [`warnings`].
pub(super) struct Warnings;

impl Write for Warnings {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !ON.load(Ordering::SeqCst) {
            return std::io::stderr().write(bytes);
        }
        let text = String::from_utf8_lossy(bytes).trim().to_owned();
        *WARNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
