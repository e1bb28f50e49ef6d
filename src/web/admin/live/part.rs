//! Parts of pages as they are sent, and which of them changed.

use actix_web::web::Bytes;

/// An element of a page.
#[derive(Debug)]
pub(in crate::web::admin) struct Part {
    id: String,
    html: String,
}

impl Part {
    /// The element with this id, which the HTML carries too.
    pub(in crate::web::admin) fn new(id: impl Into<String>, html: String) -> Part {
        Part { id: id.into(), html }
    }

    /// As an event of a stream (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). A line break of
    /// any kind ends a field there, so each line gets a field of its own.
    fn frame(&self) -> String {
        let mut frame = format!("event: {}\n", self.id);
        for line in self.html.replace("\r\n", "\n").split(['\n', '\r']) {
            let line = line.trim();
            if !line.is_empty() {
                frame.push_str("data: ");
                frame.push_str(line);
                frame.push('\n');
            }
        }
        frame.push('\n');
        frame
    }
}

/// The parts as they are now, each as it is sent, with the number of its last change.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) pieces: Vec<Piece>,
    changes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) id: String,
    pub(super) change: u64,
    pub(super) frame: Bytes,
}

impl Picture {
    /// Takes what differs. Returns whether anything did.
    pub(super) fn take(&mut self, parts: Vec<Part>) -> bool {
        let before = self.changes;
        for part in parts {
            let frame = part.frame();
            match self.pieces.iter_mut().find(|piece| piece.id == part.id) {
                Some(piece) if piece.frame == frame.as_bytes() => {}
                Some(piece) => {
                    self.changes += 1;
                    (piece.change, piece.frame) = (self.changes, frame.into());
                }
                None => {
                    self.changes += 1;
                    self.pieces.push(Piece { id: part.id, change: self.changes, frame: frame.into() });
                }
            }
        }
        self.changes != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_event_however_its_lines_end() {
        let part = Part::new("running", "<p>\r\n  a\rb\n\n</p>".to_owned());
        assert_eq!(part.frame(), "event: running\ndata: <p>\ndata: a\ndata: b\ndata: </p>\n\n");
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let mut picture = Picture::default();
        let parts = |a: &str, b: &str| vec![Part::new("a", a.to_owned()), Part::new("b", b.to_owned())];
        assert!(picture.take(parts("1", "1")));
        assert!(!picture.take(parts("1", "1")));
        assert!(picture.take(parts("1", "2")));
        let changes: Vec<_> = picture.pieces.iter().map(|piece| (piece.id.as_str(), piece.change)).collect();
        assert_eq!(changes, [("a", 1), ("b", 3)]);
    }
}
