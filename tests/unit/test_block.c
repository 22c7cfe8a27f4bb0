/* The block layer: raw files, requests, drives, locks. */
