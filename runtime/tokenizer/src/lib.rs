//! WordPiece over a vocabulary that is used straight from the map.
