mod handover;
