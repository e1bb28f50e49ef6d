//! How a text is cut into SMS parts: GSM-7 or UCS-2.
